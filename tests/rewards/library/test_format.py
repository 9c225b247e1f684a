"""Form: parsing, tags, a linear regular expression, a JSON schema; and lengths."""

import re

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
def test_re2_agrees_with_re(example, pattern, text):
    expected = re.fullmatch(pattern, text, re.DOTALL) is not None
    assert value(Pattern(pattern=pattern), text, example()) == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "missing \\)"), ("a)", "unexpected \\)"), ("[a", "missing ]"), ("*a", "no argument"),
        ("a**", "bad repetition"), ("(?=a)", "invalid perl operator"), (r"(a)\1", "invalid escape"),
        ("a{3,2}", "invalid repetition size"), ("((a{99}){99}){99}", "invalid repetition size"),
        ("\ud800", "surrogate"),
    ],
)  # fmt: skip
def test_what_needs_backtracking_is_refused_when_the_reward_is_built(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        Pattern(pattern=pattern)


def test_half_a_surrogate_pair_is_one_character(example):
    assert value(Pattern(pattern="a.b"), "a\ud800b", example()) == 1


def test_no_text_makes_a_pattern_hang(example):
    # a backtracking engine needs about 2^200000 steps for either
    assert value(Pattern(pattern="(a*)*b"), "a" * 200_000, example()) == 0
    assert value(Pattern(pattern="(a|aa)+(b|c)"), "a" * 200_000, example()) == 0
    schema = JsonSchema(schema={"type": "string", "pattern": "(a*)*b"})
    assert value(schema, f'"{"a" * 200_000}"', example()) == 0


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
        ('{"count": -1}', "$.count: -1 is less than the minimum of 0"),
        ('{"count": true}', "$.count: True is not of type 'integer'"),
        ('{"count": 1.5}', "$.count: 1.5 is not of type 'integer'"),
        ("{}", "$: 'count' is a required property"),
        ('{"count": 1, "x": 2}', "$: Additional properties are not allowed ('x' was unexpected)"),
        ('{"count": 1, "kind": "dog"}', "$.kind: 'dog' is not one of ['cell', 'rod']"),
        ('{"count": 1, "boxes": [[1, 2, 3, "4"]]}', "$.boxes[0][3]: '4' is not of type 'number'"),
        ('{"count": 1, "boxes": [[1, 2, 3]]}', "$.boxes[0]: [1, 2, 3] is too short"),
        ('{"count": 1, "boxes": [[],[],[]]}', "$.boxes: [[], [], []] is too long"),
        ("[]", "$: [] is not of type 'object'"),
    ],
)
def test_json_schema(example, text, reason):
    score = JsonSchema(schema=SCHEMA).score(Completion(text=text), example())
    assert (score.value, score.detail.get("reason")) == (float(reason is None), reason)


def test_json_that_is_none(example):
    for text in ('{"count": 1', "[" * 50_000, "", "9" * 5000, '{"count": NaN}'):
        assert value(JsonSchema(schema=SCHEMA), text, example()) == 0.0
    for text in ("1e999", "9" * 4000, "NaN"):  # no finite quotient
        assert value(JsonSchema(schema={"multipleOf": 0.5}), text, example()) == 0.0
    tree = {"type": "array", "items": {"$ref": "#"}}
    assert value(JsonSchema(schema=tree), "[[], [[]]]", example()) == 1.0
    assert value(JsonSchema(schema=tree), "[" * 900 + "]" * 900, example()) == 0.0  # deeper than Python's stack
    assert len(JsonSchema(schema=tree).score(Completion(text=f'"{"a" * 9000}"'), example()).detail["reason"]) < 250


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "items": {"patern": "a"}}, "does not know 'patern'"),
        ({"items": {"patternProperties": {"a": True}}}, "does not know 'patternProperties'"),
        ({"type": "text"}, r"at \$.type: 'text'"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "look-around"),
        ({"$ref": "https://example.org/schema.json"}, "'https://example.org/schema.json' is not in the schema"),
        ({"items": {"$ref": "#/$defs/box"}, "$defs": {"boxes": {}}}, "'#/\\$defs/box' is not in the schema"),
    ],
)
def test_schemas_that_are_not_known_are_refused_when_the_reward_is_built(schema, reason):
    with pytest.raises(ValueError, match=reason):
        JsonSchema(schema=schema)


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
