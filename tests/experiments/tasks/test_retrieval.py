"""Recall by hand, and from the pooled states of a tiny Qwen3-VL."""

from dataclasses import replace

import numpy as np
import torch

from groundrl.experiments.tasks import TASKS, Fields
from groundrl.experiments.tasks.retrieval import recalls, retrieval_recall
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.pooling import pooled
from groundrl.rollout.model.head import backbone


def test_recall_by_hand():
    # Row 0 finds its pair first; row 1 third of three; row 2 ties with a wrong one, which counts against it;
    # nothing belongs to row 3.
    similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.1, 0.2], [0.7, 0.1, 0.7], [1, 0, 0]])
    found = recalls(similarity, ["a", "b", "c", "d"], ["a", "b", "c"])
    np.testing.assert_array_equal(found["recall_1"], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(found["recall_5"], [1, 1, 1, np.nan])


def test_the_nearest_of_several_right_ones_counts():
    assert recalls(np.array([[0.5, 0.9, 0.1]]), ["a"], ["b", "a", "a"])["recall_1"].tolist() == [1.0]


def test_at_five_and_ten():
    similarity = np.arange(12, 0, -1, dtype=float)[None]  # candidate k has rank k
    for rank, (one, five, ten) in {0: (1, 1, 1), 4: (0, 1, 1), 5: (0, 0, 1), 9: (0, 0, 1), 10: (0, 0, 0)}.items():
        others = ["a" if k == rank else "b" for k in range(12)]
        found = recalls(similarity, ["a"], others)
        assert [found[f"recall_{k}"].item() for k in (1, 5, 10)] == [one, five, ten]


def test_none_finds_itself():
    similarity = np.array([[1.0, 0.8, 0.9], [0.8, 1.0, 0.1], [0.9, 0.1, 1.0]])
    found = recalls(similarity, ["a", "a", "b"], ["a", "a", "b"], same=True)
    np.testing.assert_array_equal(found["recall_1"], [0, 1, np.nan])  # 0: image 2 is nearer; image 2 has no partner
    np.testing.assert_array_equal(found["recall_5"], [1, 1, np.nan])


def test_order_and_repetition_change_nothing():
    rng = np.random.default_rng(0)
    similarity, pairs, others = rng.random((9, 7)), list("abcabcabc"), list("abcdefg")
    rows, columns = rng.permutation(9), rng.permutation(7)
    before = recalls(similarity, pairs, others)["recall_1"]
    after = recalls(similarity[rows][:, columns], [pairs[k] for k in rows], [others[k] for k in columns])["recall_1"]
    np.testing.assert_array_equal(before[rows], after)


def test_the_mean_of_the_states_over_the_prompt_alone(vl_policy, vl_examples):
    """Ragged company and padding change nothing; each row is the mean over its own tokens, of length 1."""
    with torch.no_grad():  # a tiny model's padding is all zeros, which no mean would show
        vl_policy.model.get_input_embeddings().weight[vl_policy.pad_id] = torch.linspace(-1, 1, 96)
    together = pooled(vl_policy, vl_examples)
    for example, row in zip(vl_examples, together, strict=True):
        batch = pad_batch(vl_policy, [vl_policy.encode(example)], [()])
        with torch.no_grad():
            states = backbone(vl_policy.model)(**batch.model_inputs(vl_policy), use_cache=False).last_hidden_state[0]
        mean = states.mean(dim=0)
        torch.testing.assert_close(row, mean / mean.norm(), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[3], atol=1e-3)


def test_an_image_finds_its_copy_and_a_text_model_its_text(vl_policy, image):
    """Two copies of each image, pixel by pixel: the nearest of every image is its copy."""
    fields = [
        Fields(id=f"{k} {copy}", dataset="d", images=(image(k),), pair=str(k), report=f"report {k}")
        for k in range(4)
        for copy in range(2)
    ]
    examples = [TASKS["image_image_retrieval"].example(replace(each, report=None)) for each in fields]
    assert retrieval_recall(vl_policy, examples)["recall_1"].tolist() == [1.0] * 8
    found = retrieval_recall(vl_policy, [TASKS["image_text_retrieval"].example(each) for each in fields])
    assert found["recall_5"].tolist() == [1.0] * 8, "eight images but four texts, each a candidate once"
    assert set(found["recall_1"]) <= {0.0, 1.0}


def test_texts_are_compared_as_prompts(vl_policy, image, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "groundrl.rollout.forward.pooling.pooled",
        lambda policy, examples: asked.append(examples) or torch.eye(len(examples)),
    )
    task, shown = TASKS["image_text_retrieval"], (image(),)
    fields = [Fields(id=name, dataset="d", images=shown, report=f"text {name}", pair=name) for name in "ab"]
    found = retrieval_recall(vl_policy, [task.example(each) for each in fields])
    assert [example.prompt for example in asked[1]] == ["text a", "text b"]
    assert found["recall_1"].tolist() == [1.0, 1.0]
