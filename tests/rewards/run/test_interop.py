"""TRL both ways; with the real GRPOTrainer for two steps on a tiny random text model."""

import pytest

from groundrl.rewards import (
    Completion,
    Example,
    Format,
    Group,
    LabelAccuracy,
    Length,
    Reference,
    RewardError,
    SoftF1,
    linear,
    score_group,
)
from groundrl.rewards.run.interop import from_trl, to_trl

TOTAL = 0.7 * LabelAccuracy().named("label") + 0.3 * Format().named("form")


def test_each_part_keeps_its_name_and_weight_and_reads_the_columns():
    functions, weights = to_trl(0.6 * SoftF1().named("box") + 0.4 * LabelAccuracy())
    assert ([f.__name__ for f in functions], weights) == (["box", "label_accuracy"], [0.6, 0.4])
    columns = {"label": ["1 cell"] * 2 + [None], "boxes": [[[0, 0, 10, 10]], [[0, 0, 10, 10]], None]}
    texts = ["1 cell <box>[[0, 0, 10, 10]]</box>", "2 cells <box>[[0, 0, 10, 5]]</box>", "1 cell"]
    box, label = (f(prompts=["a", "a", "b"], completions=texts, completion_ids=[[1]] * 3, **columns) for f in functions)
    assert box == [1.0, pytest.approx(2 * 0.5 / 2), None]
    assert label == [1.0, 0.0, None]


def test_chat_completions_groups_and_schedules():
    chat = [[{"role": "assistant", "content": text}] for text in ("yes", "no")]
    (label,), _ = to_trl(LabelAccuracy())
    prompt = [{"role": "user", "content": "?"}]
    assert label(prompts=[prompt, prompt], completions=chat, completion_ids=[[1], [1]], label=["yes", "yes"]) == [
        1.0,
        0.0,
    ]
    (length,), _ = to_trl(Length())
    ids = [[1], [1, 1, 1], [1] * 9, [1] * 5]
    assert length(prompts=["a", "a", "b", "b"], completions=["x"] * 4, completion_ids=ids) == [0.5, -0.5, -0.5, 0.5]

    class State:
        global_step = 5

    (scheduled,), _ = to_trl(LabelAccuracy().scheduled(linear(0, 1, 10)))
    given = {"prompts": ["a"], "completions": ["yes"], "completion_ids": [[1]], "label": ["yes"]}
    assert scheduled(**given, trainer_state=State()) == [0.5]


def starts_right(prompts, completions, completion_ids, label, **columns):
    return [None if text == "?" else float(text[:1] == own[:1]) for text, own in zip(completions, label, strict=True)]


def test_a_trl_function_is_a_reward():
    wrapped = from_trl(starts_right, range=(0, 1))
    task = Example(id="e", prompt="p", reference=Reference(label="yes"))
    group = Group(example=task, completions=tuple(Completion(text=text) for text in ("yep", "no", "?")))
    assert [score.value for score in score_group(wrapped, group).scores] == [1.0, 0.0, None]
    (back,), _ = to_trl(wrapped)
    assert back(prompts=["p"] * 2, completions=["yep", "no"], completion_ids=[[1]] * 2, label=["yes"] * 2) == [1.0, 0.0]
    short = from_trl(lambda **columns: [1.0], range=(0, 1))
    with pytest.raises(RewardError, match="gave 1 values for 3 completions"):
        score_group(short, group)


def test_two_steps_of_trls_own_trainer(tmp_path, tiny_text):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    functions, weights = to_trl(TOTAL)
    rows = {"prompt": ["yes or no?", "How many nuclei?"] * 2, "label": ["yes", "3"] * 2}
    settings = trl.GRPOConfig(
        output_dir=str(tmp_path),
        reward_weights=weights,
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=4,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
    )
    trainer = trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_text),
        processing_class=AutoTokenizer.from_pretrained(tiny_text),
        reward_funcs=functions,
        args=settings,
        train_dataset=datasets.Dataset.from_dict(rows),
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(logged) == 2
    for entry in logged:
        label, form = entry["rewards/label/mean"], entry["rewards/form/mean"]
        assert entry["reward"] == pytest.approx(0.7 * label + 0.3 * form, abs=1e-6)
        assert form > 0  # random letters have a label, so the functions saw the text
