"""The rule by which the usual kit (MedEvalKit) grades questions, faults included: to stand beside published numbers.

Faults that are kept, so never to be read as an accuracy: yes and no are sought as parts of words ("Yes, the scan is
abnormal" holds both and is wrong); an answer that names no option counts as the option whose letters are most alike,
the first where none is alike; an option's text is cut at its first full stop.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from groundrl.experiments.metrics.metric import mean_of
from groundrl.experiments.metrics.questions import is_yes_no
from groundrl.rewards import Completion, Example

_LEADS = ("**answer**:", "**answer**", "*answer*:", "**answer:**", "answer is", "answer:", "final answer")
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def final_part(response: str) -> str:
    """The lower-case text that is graded: a box's or the tags' inside, then what follows the last lead-in."""
    text = response.lower()
    if "boxed" in text:
        text = _boxed(text)
    elif tagged := " ".join(_TAGGED.findall(text)).strip():
        text = tagged
    for lead in _LEADS:
        text = text.rpartition(lead)[2] if lead in text else text
    return text


def _boxed(text: str) -> str:
    """The inside of the last `boxed{...}`, or `none`."""
    start = text.rfind("boxed{")
    depth = 0
    for end in range(start + len("boxed"), len(text) if start >= 0 else 0):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start + len("boxed{") : end]
    return "none"


def picks_option(response: str, choices: tuple[str, ...], label: str) -> bool:
    """Whether the option that the kit reads is the right one."""
    letters = [chr(ord("a") + place) for place in range(len(choices))]
    options, label = [choice.lower() for choice in choices], label.strip().lower()
    paragraphs = response.lower().split("\n\n")
    if paragraphs[0] in letters:
        response = paragraphs[0]
    elif (last := paragraphs[-1].split(".")[0]) in letters:
        response = last
    text = final_part(response).strip().replace("\n", "")
    short = text.split(".")[0].split(":")[-1]
    if short == label:
        return True
    if short in letters:
        return options[letters.index(short)] == label
    if short in options:
        return label in letters and options[letters.index(label)] == short
    alike = [SequenceMatcher(None, option, text).ratio() for option in options]
    nearest = alike.index(max(alike))
    return label in (letters[nearest], options[nearest])


def _plain(response: str) -> str:
    return final_part(response).replace("\n", "").replace(".", "")


def _kit(completion: Completion, example: Example) -> float | None:
    label, choices = example.reference.label, example.reference.choices
    if label is None:
        return None
    if choices:
        return float(picks_option(completion.text, choices, label))
    text, truth = _plain(completion.text), label.lower()
    if is_yes_no(label):
        return float((("yes" in text) != ("no" in text)) and truth in text)
    return float(text == truth)


RULE = "the rule of MedEvalKit, its faults included (parts of words, the most similar option); without its judge"
MEDEVALKIT = {
    "medevalkit": mean_of(_kit, RULE, reads=("label",)),
    "medevalkit_closed": mean_of(_kit, f"{RULE}; over the closed questions alone", reads=("label",)),
}
