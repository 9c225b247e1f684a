"""Policies for any task: nothing, the prompt, noise, very much, and the truth where no answer is."""

from __future__ import annotations

from groundrl.rewards.audit.attack import Attack
from groundrl.rewards.audit.audit_task import AuditTask, prompt_text

LONG = 4000  # words
MALFORMED = (
    "<box>[[1, 2, 3",
    "[[NaN, 1e309, -1, 5]]",
    '[{"bbox_2d": [9, 9, 1, 1], "label": null}]',
    "<answer></answer><answer>yes</answer>",
    "</think></think><box>[]</box><box>",
    "[" * 200,
    "\u202e\x00 ٣ nuclei ∅ 🙂",
    "<|box_start|>(1,2)<|box_end|>",
)


def _long(task: AuditTask, index: int) -> str:
    words = prompt_text(task.examples[index]).split() or ["word"]
    return " ".join((words * (LONG // len(words) + 1))[:LONG])


POLICIES = (
    Attack(name="empty", does="no text at all", kind="blind", answer=lambda task, index: ""),
    Attack(
        name="prompt echoed",
        does="the text of the prompt",
        kind="blind",
        answer=lambda task, index: prompt_text(task.examples[index]),
    ),
    Attack(
        name="malformed",
        does=f"one of {len(MALFORMED)} texts that no parser should accept",
        kind="blind",
        answer=lambda task, index: MALFORMED[index % len(MALFORMED)],
    ),
    Attack(
        name="very long text",
        does=f"the words of the prompt over and over, {LONG:,} of them",
        kind="blind",
        answer=_long,
        excess=True,
    ),
    Attack(
        name="gold inside <think> only",
        does="the gold answer as a thought, and no answer after it",
        kind="truth",
        answer=lambda task, index: f"<think>{task.drafts[index].text}</think>",
    ),
)
