"""Text metrics: by hand, and against the authors' own code where that runs without Java."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from groundrl.experiments.metrics import METRICS, Tools
from groundrl.experiments.metrics.cider import ciders
from groundrl.experiments.metrics.open_answers import rouge_l, token_f1
from groundrl.experiments.metrics.reports import sentence_vectors
from groundrl.rewards import Judge, verdict
from groundrl.rewards.core.function import load_module

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))


@pytest.mark.parametrize(
    ("said", "truth", "f1"),
    [
        ("the left lung", "left lung", 1.0),  # the article is left out
        ("left lower lobe", "left upper lobe", 2 / 3),  # 2 of 3 shared: 2 * 2 / 6
        ("lung lung lung", "lung", 0.5),  # a bag: one of three is shared, 2 * 1 / 4
        ("Pneumonia!", "pneumonia", 1.0),
        ("", "pneumonia", 0.0),
        ("", "", 1.0),
    ],
)
def test_token_f1_by_hand(said, truth, f1):
    assert token_f1(said, truth) == pytest.approx(f1)


def test_references_are_a_list_or_the_report_stands(answer, measure):
    for written in ("left lung", [], 7):  # a text is no list of texts
        assert measure("exact_match", [answer("left lung", report="left lung", columns={"references": written})]) == 1.0
    assert measure("exact_match", [answer("b", report="a", columns={"references": ["a", "b"]})]) == 1.0


def test_rouge_l_by_hand():
    # longest common subsequence "police the gunman" of 4 and 4 words (Lin, 2004, section 3.1): "police killed the
    # gunman" against "police kill the gunman" 3/4, against "the gunman kill police" 2/4
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    assert rouge_l("a b c", "a b c d e f") == pytest.approx(2 * 1.0 * 0.5 / 1.5)


def test_the_best_reference_counts(answer, measure):
    one = [answer("lobe", report="left lung", columns={"references": ["left lung", "upper lobe", "lobe"]})]
    assert measure("exact_match", one) == measure("token_f1", one) == measure("rouge_l", one) == 1.0
    assert measure("exact_match", [answer(" Left  lung. ", label="left lung")]) == 1.0
    assert measure("exact_match", [answer("left lungs", label="left lung")]) == 0.0


def test_bleu_4_by_hand(answer, measure):
    # "a b c d" in "a b c d e": all n-grams of 4 words match, the penalty is exp(1 - 5/4)
    short = answer("a b c d", report="A B C D E")
    assert measure("bleu_4", [short]) == pytest.approx(math.exp(-1 / 4))
    # corpus, not mean: lengths add to 8 and 10; "a b x d" matches 3/4, 1/3, 0/2, 0/1: 7/8, 4/6, 2/4, 1/2
    other = answer("a b x d", report="a b c d e")
    expected = math.exp(1 - 10 / 8) * (7 / 8 * 4 / 6 * 2 / 4 * 1 / 2) ** 0.25
    assert measure("bleu_4", [short, other]) == pytest.approx(expected)
    assert measure("bleu_4", [answer("", report="a b c d e")]) == 0.0


def test_cider_by_hand():
    # two sets of references share no word: every n-gram is worth log 2, and the same text has a cosine of 1 at each n
    corpus = [["a b c d e"], ["f g h i j"]]
    assert ciders(["a b c d e", "f g h i j"], corpus) == pytest.approx([10.0, 10.0])
    # no 4-gram is left of three words: three of four orders, and no difference of length
    assert ciders(["a b c", "x"], [["a b c"], ["f g h i j"]])[0] == pytest.approx(7.5)
    # said twice, counted once: words (2 + 1, clipped to 1 + 1) / (sqrt 5 sqrt 3), pairs 1 / (sqrt 2 sqrt 2)
    twice = ciders(["a a b", "x"], [["a b c"], ["f g h i j"]])[0]
    assert twice == pytest.approx(2.5 * (2 / 15**0.5 + 1 / 2))
    # what every document says is worth nothing
    assert ciders(["a b", "a b"], [["a b"], ["a b"]]) == [0.0, 0.0]


def test_cider_is_that_of_its_authors_code():
    """pycocoevalcap 1.2, `CiderScorer(n=4, sigma=6.0)`, on the same words."""
    truths = [
        ["the heart is normal in size", "heart size is normal"],
        ["there is a small left pleural effusion"],
        ["no focal consolidation or effusion is seen"],
        ["the heart is enlarged"],
    ]
    said = [
        "the heart size is normal",
        "a small right pleural effusion is seen",
        "there is no consolidation",
        "lungs are clear",
    ]
    assert ciders(said, truths) == pytest.approx([5.73089208, 2.38095238, 1.11184159, 0.0], abs=1e-7)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A random BERT with the tiny tokenizer."""
    from transformers import BertConfig, BertModel

    from groundrl.experiments.bench.tiny_model import build_tokenizer

    folder, tokenizer = tmp_path_factory.mktemp("encoder"), build_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                pad_token_id=tokenizer.pad_token_id,
            )
        ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_embedding_cosine(answer, measure, encoder):
    texts = ["a", "a much longer text than the other one", "nodule"]
    together = sentence_vectors(texts, encoder)
    alone = [sentence_vectors([text], encoder)[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)  # padding changes nothing
    tools = Tools(encoder=encoder)
    assert measure("embedding_cosine", [answer("a nodule", report="a nodule")], tools) == pytest.approx(1.0)
    several = answer("a nodule", report="x", columns={"references": ["effusion", "a nodule"]})
    assert measure("embedding_cosine", [several], tools) == pytest.approx(1.0), "the best reference"
    expected = float(together[0] @ together[2])
    assert measure("embedding_cosine", [answer("a", report="nodule")], tools) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="cannot be loaded as a transformers encoder"):
        sentence_vectors(texts, f"{encoder}/nothing")


def test_what_the_judge_could_not_grade_is_counted_and_is_no_zero(answer, measure):
    with web.judge_server() as server:
        server.act = web.knows("left lung")
        tools = Tools(judge=Judge(base_url=server.url, model="m", cache=None, retries=0))
        several = [answer(text, label="left lung") for text in ("left lung", "right lung")]
        assert measure("judge", several, tools) == 0.5
        wide = verdict(correct=3.0, partial=None, incorrect=-1.0)
        graded = Tools(judge=Judge(base_url=server.url, model="m", cache=None, retries=0, parser=wide))
        assert METRICS["judge"].statistics(several, graded).tolist() == [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
        server.acts = [web.fails(400)]
        statistics = METRICS["judge"].statistics([*several[:1], answer("x")], tools)
    assert statistics[0].tolist() == [0.0, 0.0, 1.0], "failed"
    assert np.isnan(statistics[1]).all(), "nothing to compare with"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # facts of the reference: effusion left (1), no pneumothorax (0.25 as a quiet fact)
        ("Left pleural effusion. No pneumothorax.", (1.0, 1.0, 1.0, 0.0)),
        ("Left pleural effusion.", (1.0, 0.8, 2 * 0.8 / 1.8, 0.0)),
        ("Pneumothorax.", (0.0, 0.0, 0.0, 1.0)),
        ("Nothing to say.", (0.0, 0.0, 0.0, 0.0)),
        ("<think>Left pleural effusion.", (0.0, 0.0, 0.0, 0.0)),  # no answer
    ],
)
def test_facts_by_hand(answer, measure, said, expected):
    one = [answer(said, report="Left pleural effusion. No pneumothorax.")]
    names = ("fact_precision", "fact_recall", "fact_f1", "contradictions")
    assert [measure(name, one) for name in names] == pytest.approx(list(expected))


def test_chexpert_f1_by_hand(answer, measure):
    several = [
        # effusion hit; edema said and not true
        answer("Pleural effusion and edema.", report="Small left pleural effusion. No pneumothorax."),
        # no finding hit, since what is denied or uncertain is not present
        answer("Lungs are clear.", report="No acute abnormality. Possible pneumonia."),
        # a nodule is a lesion: missed; no_finding said and not true
        answer("Normal chest.", report="A nodule in the right lung. Pacemaker."),
    ]
    # micro: hits 2 (effusion, no finding), said 4 (effusion, edema, no finding twice), true 4 (effusion, no finding,
    # lesion, device)
    assert measure("chexpert_f1_micro", several) == pytest.approx(2 * 2 / 8)
    # macro over the five that occur: effusion 1, edema 0, no finding 2/3, lesion 0, device 0
    assert measure("chexpert_f1_macro", several) == pytest.approx((1 + 2 / 3) / 5)


def test_the_f1_of_resamples_is_that_of_each():
    """One figure a bootstrap sample: 3 of counts (hits, said, true) of 14 labels."""
    counts = np.random.default_rng(0).integers(1, 9, (3, 42)).astype(float)
    expected = {
        "chexpert_f1_micro": [2 * row[::3].sum() / (row[1::3].sum() + row[2::3].sum()) for row in counts],
        "chexpert_f1_macro": [(2 * row[::3] / (row[1::3] + row[2::3])).mean() for row in counts],
    }
    for name, values in expected.items():
        assert METRICS[name].figure(counts).tolist() == pytest.approx(values)
        assert METRICS[name].figure(counts[0]) == pytest.approx(values[0])


def test_recall_is_what_the_model_was_measured_at(answer, measure):
    found = [answer("", measured={"recall_1": hit}) for hit in (1.0, 0.0, 0.0, 1.0)]
    assert measure("recall_1", [*found, answer("no retrieval")]) == 0.5
