"""What holds for any text: nothing raises or hangs, order and repetition change nothing, the gold report is best."""

import csv
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.rewards import Completion, Example, Factuality, Reference
from groundrl.rewards.factuality import read_facts
from groundrl.rewards.factuality.lexicon import shipped_text

SECTIONS = json.loads(shipped_text())
with (Path(__file__).parent / "sentences.tsv").open(newline="") as file:
    POOL = [row["sentence"] for row in csv.DictReader(file, delimiter="\t")]
PHRASES = [
    *(phrase for entry in SECTIONS["concepts"].values() for phrase in entry["synonyms"][:2]),
    *(phrase for phrases in SECTIONS["cues"].values() for phrase in phrases),
    *(phrase for phrases in SECTIONS["laterality"].values() for phrase in phrases),
    *(entry["synonyms"][0] for entry in SECTIONS["anatomy"].values()),
    *(phrases[0] for phrases in SECTIONS["attributes"].values()),
    *(phrases[0] for phrases in SECTIONS["modality"].values()),
    *SECTIONS["terminators"], *SECTIONS["separators"], *SECTIONS["verbs"], "two", "3", "the", "4 cm",
    ".", ". ", "\n", "?", "; ", "Dr.", "\x00", "\ud800", "İ", "'", "９", "-", "1e9",
]  # fmt: skip
texts = st.one_of(st.text(max_size=100), st.lists(st.sampled_from(PHRASES), max_size=30).map(" ".join))
reports = st.lists(st.sampled_from(POOL), min_size=1, max_size=8)


def score(report, text):
    return Factuality().score(Completion(text=text), Example(id="e", prompt="p", reference=Reference(report=report)))


@settings(max_examples=60)
@given(text=texts, report=st.one_of(texts, reports.map(" ".join)))
def test_nothing_raises_and_the_range_holds(text, report):
    result = score(report, text)
    assert result.status in ("ok", "abstain")
    assert result.value is None or 0 <= result.value <= 1
    for mention in read_facts(text).mentions:
        assert 0 <= mention.span[0] < mention.span[1] <= len(text)


@settings(max_examples=60)
@given(report=texts.filter(lambda text: "<" not in text and text.strip()))
def test_no_text_is_better_than_the_reference_itself(report):
    result = score(report, report)
    assert result.value == (pytest.approx(1.0) if read_facts(report).mentions else None)


@settings(max_examples=60)
@given(report=reports, said=reports, data=st.data())
def test_the_order_of_sentences_does_not_matter(report, said, data):
    shuffled = data.draw(st.permutations(said))
    first, second = score(" ".join(report), " ".join(said)), score(" ".join(report), " ".join(shuffled))
    assert (first.value, first.detail) == (second.value, second.detail)
    assert {k: p.value for k, p in first.parts.items()} == {k: p.value for k, p in second.parts.items()}


@settings(max_examples=60)
@given(report=reports, said=texts.filter(lambda text: "<" not in text), times=st.integers(2, 4))
def test_repeating_a_text_earns_nothing(report, said, times):
    assert score(" ".join(report), "\n\n".join([said] * times)).value == score(" ".join(report), said).value


HARD = [
    "no effusion, ", "effusion and ", "left nodule ", "two ", "the heart enlarged normal ", "left and right ", "no ",
    "effusion is not seen, ", "nodule. ", "possible ", "no nuclei touch the border ", "2 nuclei ", "a", "dr. ",
    "increased cup to disc ", "fundus photograph heart ", "pleural ", "\n", "((((", "'s",
]  # fmt: skip


def lines_run(function, *arguments):
    """How many lines of Python a call executes: its cost, whatever the machine is doing."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("piece", HARD)
def test_the_cost_is_linear(piece):
    texts = [piece * (size // len(piece)) for size in (1_000, 2_000, 4_000)]
    score("Left effusion. Two nuclei.", texts[0])  # read the reference and the words once, before counting
    small, middle, large = (lines_run(score, "Left effusion. Two nuclei.", text) for text in texts)
    assert large - middle < 2.5 * (middle - small) + 200


def test_a_megabyte_is_read():
    text = " ".join(POOL)
    text = (text * (1_000_000 // len(text) + 1))[:1_000_000]
    assert score("Left effusion.", text).status == "ok"


@pytest.mark.parametrize("piece", ["no ", "left nodule ", "the heart enlarged normal "])
def test_a_long_repetition_is_read(piece):
    assert score("Left effusion.", piece * 8_000 + "effusion").status == "ok"
