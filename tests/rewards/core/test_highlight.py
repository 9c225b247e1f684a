"""What a report got right and wrong, marked in the terminal and in a notebook."""

from groundrl.rewards import Completion, Example, Factuality, Format, Reference, Score
from groundrl.rewards.core.explain import Explanation
from groundrl.rewards.core.highlight import Mark, marked_html, marked_lines, marks

REPORT = "Two nuclei, one touching the left border. No mitotic figure."
TASK = Example(id="e", prompt="p", reference=Reference(report=REPORT))


def test_signs_stand_under_the_words_they_mean():
    total = 0.9 * Factuality() + 0.1 * Format()
    shown = str(total.explain("Two nuclei, one touching the right border. Necrosis.", TASK))
    assert (
        """\
  completion  (+ true positives  - false positives  ! contradictions)
    Two nuclei, one touching the right border. Necrosis.
        ++++++      !!!!!!!!!!!!!!!!!!!!!!!!!  --------
  reference  (? misses)
    Two nuclei, one touching the left border. No mitotic figure.
                    ????????????????????????     ??????????????
"""
        in shown
    )


def test_long_lines_are_broken_with_their_signs():
    text = "word " * 30 + "necrosis"
    lines = list(marked_lines(text, [Mark(150, 158, "false_positives")]))
    assert lines == [("word " * 20).rstrip(), "word " * 10 + "necrosis", " " * 50 + "--------"]


def test_everything_is_escaped():
    text = '<script>alert(1)</script> "necrosis" & <b>'
    html = Factuality().explain(text, TASK)._repr_html_()
    assert "<script>" not in html
    assert '<mark class="false_positives" title="false positives">necrosis</mark>' in html
    assert marked_html("a<b", [Mark(1, 2, "misses")]) == (
        '<p style="white-space:pre-wrap">a<mark class="misses" title="misses">&lt;</mark>b</p>'
    )


def test_control_characters_do_not_reach_the_terminal():
    shown = str(Factuality().explain("\x1b[31mnecrosis\x1b[0m\n\tmore", TASK))
    assert "\x1b" not in shown
    assert "\t" not in shown


def test_the_worst_mark_is_kept_and_none_lies_within_another():
    parts = {
        "false_positives": Score(value=1.0, detail={"spans": [(0, 4), (6, 9)]}),
        "contradictions": Score(value=1.0, detail={"spans": [(0, 4)]}),
        "true_positives": Score(value=1.0, detail={"spans": [(2, 3)]}),
    }
    whole = Score(value=0.0, parts={"inner": Score(value=0.0, parts=parts)})
    assert marks(whole) == [Mark(0, 4, "contradictions"), Mark(6, 9, "false_positives")]


def test_a_score_without_spans_is_shown_as_before():
    explanation = Explanation(title="t", completion=Completion(text="x"), example=TASK, score=Score(value=1.0))
    assert "completion" not in str(explanation)
    assert "<mark" not in explanation._repr_html_()
