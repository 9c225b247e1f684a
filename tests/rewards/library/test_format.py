"""Form: parsing, tags, a linear regular expression, a JSON schema; and lengths."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrl.rewards import Completion, Format, JsonSchema, Length, Overlong, Pattern, Repetition


def value(reward, text, example):
    return reward.score(Completion(text=text), example).value


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("1 cell <box>[[0,0,1,1]]</box>", 1), ("0 cells <box>[]</box>", 1), ("1 cell", 0),
        ("<box>[[0,0,1,1]]</box>", 0),
        ("1 cell <box>[[0,0,1]]</box>", 0), ("", 0), ("<answer>1 cell <box>[[0,0,1,1]]</box>", 0),
    ],
)  # fmt: skip
def test_format(example, text, right):
    assert value(Format(), text, example([[0, 0, 1, 1]])) == right


def test_format_asks_for_boxes_only_where_the_reference_has_them(example):
    assert value(Format(), "pneumonia", example(label="x")) == 1


GOOD = "<think>a b</think>\n<answer>yes</answer>"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (GOOD, 1), (f"  {GOOD} ", 1), (GOOD + "more", 0), ("so " + GOOD, 0), (GOOD + GOOD, 0),
        ("<answer>yes</answer><think>a</think>", 0), ("<think>a</think>yes", 0), ("<think>a<answer>yes</answer>", 0),
        ("<think>a</think>b<answer>yes</answer>", 0), ("</think><think>a<answer>yes</answer>", 0),
    ],
)  # fmt: skip
def test_tags_stand_once_in_order_with_nothing_around(example, text, right):
    assert value(Format(tags=("think", "answer")), text, example()) == right


PATTERNS = [
    "abc", "a|bc|", "(ab)*c+", "a?b{2,3}", "[a-c]+", "[^a]*", "a.c", r"\d+\.\d{1,2}", r"(?:a|b)*a(?:a|b){3}",
    "x{0,2}y{3}",
    r"[]a]+", r"[\]a-]+", "(a*)*b", "(|a)+", r"\s*\S+", "a{2,}", "(a{2}){2}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet="abcxy.]1 -\n", max_size=12))
def test_the_linear_engine_agrees_with_re(example, pattern, text):
    expected = re.fullmatch(pattern, text, re.DOTALL) is not None
    assert value(Pattern(pattern=pattern), text, example()) == expected


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a)", "[a", "*a", "a**", "^a", "a$", "(?=a)", r"(a)\1", r"\b", "a{3,2}", "a*?", "((a{99}){99}){99}"],
)
def test_what_needs_backtracking_is_refused_with_its_position(pattern):
    with pytest.raises(ValueError, match="at position"):
        Pattern(pattern=pattern)


def test_no_text_makes_a_pattern_hang(example):
    start = time.process_time()
    assert value(Pattern(pattern="(a*)*b"), "a" * 200_000, example()) == 0
    assert value(Pattern(pattern="(a|aa)+(b|c)"), "a" * 200_000, example()) == 0
    assert time.process_time() - start < 10


SCHEMA = {
    "type": "object",
    "required": ["count"],
    "additionalProperties": False,
    "properties": {
        "count": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["cell", "rod"]},
        "boxes": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "array", "minItems": 4, "items": {"type": "number"}},
        },
    },
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"count": 1}', None),
        ('{"count": 1, "kind": "rod", "boxes": [[1, 2, 3.5, 4]]}', None),
        ('{"count": -1}', "$.count: breaks minimum 0"),
        ('{"count": true}', "$.count: not of type integer"),
        ('{"count": 1.5}', "$.count: not of type integer"),
        ("{}", "$: 'count' is missing"),
        ('{"count": 1, "x": 2}', "$: 'x' is not expected"),
        ('{"count": 1, "kind": "dog"}', "$.kind: 'dog' is not allowed"),
        ('{"count": 1, "boxes": [[1, 2, 3, "4"]]}', "$.boxes[0][3]: not of type number"),
        ('{"count": 1, "boxes": [[1, 2, 3]]}', "$.boxes[0]: breaks minItems 4"),
        ('{"count": 1, "boxes": [[],[],[]]}', "$.boxes: breaks maxItems 2"),
        ("[]", "$: not of type object"),
    ],
)
def test_json_schema(example, text, reason):
    score = JsonSchema(schema=SCHEMA).score(Completion(text=text), example())
    assert (score.value, score.detail.get("reason")) == (float(reason is None), reason)


def test_json_that_is_none_and_schemas_that_are_not_known(example):
    for text in ('{"count": 1', "[" * 50_000, "", "9" * 5000):
        assert value(JsonSchema(schema=SCHEMA), text, example()) == 0.0
    with pytest.raises(ValueError, match="does not know 'pattern'"):
        JsonSchema(schema={"type": "array", "items": {"pattern": "a"}})
    with pytest.raises(ValueError, match="does not know the type 'text'"):
        JsonSchema(schema={"type": "text"})


def test_length_compares_within_the_group_only(example):
    group = [Completion(text="x", token_ids=(1,) * n) for n in (10, 15, 30)]
    # .5 - (n - 10) / 20
    assert [score.value for score in Length().score_group(group, example())] == [0.5, 0.25, -0.5]
    assert [score.value for score in Length().score_group(group[:1] * 2, example())] == [0.0, 0.0]
    assert Length().groupwise
    assert Length().score_group([Completion(text="x")], example())[0].status == "abstain"


def test_lengths_need_tokens_and_legal_settings(example):
    assert Overlong(max_tokens=10, cache=5).score(Completion(text="x"), example()).status == "abstain"
    with pytest.raises(ValueError, match="cache"):
        Overlong(max_tokens=10, cache=11)
    with pytest.raises(ValueError, match="max_penalty"):
        Repetition(max_penalty=1.0)
