"""Sums, products, gates, bounds, schedules: values, statuses, names, steps, state, and the way to text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrl.rewards import (
    AtLeast,
    Completion,
    Example,
    Format,
    GIoU,
    Group,
    LabelAccuracy,
    MedLoc,
    Reward,
    Score,
    SoftF1,
    ThresholdIoU,
    gate,
    linear,
    parse_reward,
    reward,
    score_group,
)

EXAMPLE = Example(id="e", prompt="p")


@reward(range=(-1, 3))
def a(completion, example):
    return {"none": None, "nan": float("nan")}.get(completion.text, 2.0)


@reward
def b(completion, example):
    return None if completion.text in ("none", "b abstains") else 0.5


class Failing(Reward):
    def score(self, completion, example):
        return Score(value=None, status="error", detail={"reason": "the judge is down"})


def value(total, text=""):
    return total.score(Completion(text=text), EXAMPLE).value


def status(total, text=""):
    return total.score(Completion(text=text), EXAMPLE).status


def test_values_and_ranges_by_hand():
    assert value(0.5 * a + 2 * b) == 0.5 * 2 + 2 * 0.5
    assert (0.5 * a + 2 * b).range == (-0.5, 3.5)
    assert value(a - b) == 1.5
    assert (a - b).range == (-2.0, 3.0)
    assert value(a * b) == 1.0
    assert (a * b).range == (-1.0, 3.0)
    assert value(a.clip(0, 1)) == 1.0
    assert a.clip(0, 1).range == (0, 1)
    assert value(AtLeast(reward=a, threshold=2.0)) == 1.0
    assert value(AtLeast(reward=a, threshold=2.1)) == 0.0


def test_a_gate_below_its_high_end_drops_the_whole_to_the_low_end():
    assert value(gate(b, a)) == -1.0  # b is 0.5, below its high end 1
    assert value(gate(b.clip(0, 0.5), a)) == 2.0
    assert value(gate(b, a), "b abstains") == 2.0
    assert status(gate(a.clip(0, 1), b), "b abstains") == "abstain"


def test_what_abstains_is_left_out_and_the_weights_of_the_others_stay():
    assert value(0.5 * a + 2 * b, "b abstains") == 1.0
    assert status(a + b, "none") == "abstain"
    assert status(a * b, "b abstains") == "abstain"


def test_an_error_or_nan_in_a_part_is_never_a_zero():
    for total in (a + Failing(), a * Failing(), gate(a, Failing()), gate(Failing(), a), Failing().clip(0, 1)):
        assert status(total) == "error"
    score = (b + a).score(Completion(text="nan"), EXAMPLE)
    assert (score.status, score.value, score.detail["reason"]) == ("nonfinite", None, "nonfinite in a")
    assert score.parts["b"].value == 0.5


def test_part_names_are_unique_or_refused():
    with pytest.raises(ValueError, match=r"two parts are called 'a'; .*named"):
        a + 0.5 * a
    assert set((a + 0.5 * a.named("other")).weights) == {"a", "other"}


def test_weights_flatten_and_scale_but_a_named_sum_stays_one_part():
    assert (0.5 * (a + 0.5 * b)).weights == {"a": 0.5, "b": 0.25}
    assert ((a + b).named("both") + 0.5 * SoftF1()).weights == {"both": 1.0, "soft_f1": 0.5}
    assert (a * b).weights == {"a_x_b": 1.0}
    with pytest.raises(ValueError, match="finite"):
        float("nan") * a


def test_schedules_are_pure_data():
    line = linear(0.3, 0.8, 500)
    assert [line(0), line(250), line(500), line(9999)] == pytest.approx([0.3, 0.55, 0.8, 0.8])
    total = b.scheduled(linear(0, 1, 10)) + ThresholdIoU(threshold=line).named("hits")
    assert total.at(5).range == (0.0, 1.5)
    assert value(total.at(5).children[0]) == 0.25
    assert value(total.children[0]) == 0.0
    assert total.at(250).children[1].threshold == pytest.approx(0.55)
    assert list(total.at(250).weights) == ["b", "hits"]
    assert total.children[1].threshold == line


def test_state_is_saved_and_restored_by_part():
    total = 0.5 * MedLoc().named("loc") + Format()
    total.observe([Score(value=1.0, parts={"loc": Score(value=1.0, detail={"iou": 0.9})})])
    state = total.state_dict()
    assert state == {"loc": {"threshold": 0.3, "steps": [[1.0, 0.9]]}}
    fresh = 0.5 * MedLoc().named("loc") + Format()
    fresh.load_state_dict(state)
    assert fresh.state_dict() == state
    with pytest.raises(ValueError, match=r"parts \['other'\]"):
        fresh.load_state_dict({"other": {}})
    with pytest.raises(ValueError, match="has no state"):
        Format().load_state_dict({"x": 1})


ROUND_TRIP = [
    "0.6*SoftF1() + 0.3*LabelAccuracy() + 0.1*Format()",
    "1.0*SoftF1() + -0.5*Format()",
    "gate(Format(), SoftF1()).named('gated')",
    "0.5*(SoftF1() * Format())",
    "(1.0*SoftF1() + 0.5*Format()) * LabelAccuracy()",
    "(1.0*SoftF1() + 0.5*Format()).named('x').clip(0, 1)",
    "GIoU().scheduled(linear(0.0, 1.0, 50)).clip(0.1, 0.9)",
    "1.0*(1.0*SoftF1() + 0.5*Format()).named('both') + 2.0*GIoU()",
    "ThresholdIoU(threshold=linear(0.3, 0.8, 500))",
    "LabelAccuracy(mode='choice', synonyms={'a': ('b', 'c')})",
    "Format(tags=('think', 'answer'))",
    "JsonSchema(schema={'type': 'object', 'required': ['x'], 'additionalProperties': False})",
    "CosineLength(max_tokens=10, correct=Format())",
    "AtLeast(reward=(SoftF1() * Format()).named('p'), threshold=0.5)",
]


@pytest.mark.parametrize("text", ROUND_TRIP)
def test_an_expression_round_trips(text):
    assert repr(parse_reward(text)) == text
    assert parse_reward(repr(parse_reward(text))).weights == parse_reward(text).weights


def test_names_give_rewards_their_name():
    total = parse_reward("0.6*box + 0.4*mine", {"box": SoftF1(), "mine": a})
    assert total.weights == {"box": 0.6, "mine": 0.4}
    assert repr(total) == "0.6*SoftF1().named('box') + 0.4*a.named('mine')"


REFUSED = {
    "9**9**9": "not allowed",
    "__import__('os').system('ls')": "no method 'system'",
    "SoftF1().__class__": "not allowed",
    "SoftF1().score(1)": "no method 'score'",
    "(lambda: 1)()": "no reward is called",
    "[SoftF1() for x in 'ab']": "not allowed",
    "f'{SoftF1()}'": "not allowed",
    "SoftF2()": "did you mean 'SoftF1'",
    "presets.medm()": "did you mean 'medmo'",
    "0.5*bax": "did you mean 'box'",
    "SoftF1() + 1": "bare number",
    "0.5*0.5": "combines no reward",
    "'a'*SoftF1()": "combines no reward",
    "SoftF1(beta=2)": "beta",
    "SoftF1(**{})": "not allowed",
    "0.5": "is a float, not a reward",
    "SoftF1(": "not an expression",
    "": "not an expression",
    "SoftF1().clip(1, 0)": "lo < hi",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=REFUSED.keys())
def test_everything_else_is_refused_with_a_reason(text, message):
    with pytest.raises(ValueError, match=message):
        parse_reward(text, {"box": SoftF1()})


values = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(values, values, st.floats(0, 1), st.floats(-10, 10)), min_size=1, max_size=4))
def test_sums_products_gates_and_bounds_stay_inside_their_declared_range(parts):
    rewards = []
    for k, (one, other, share, _) in enumerate(parts):
        lo, hi = min(one, other), max(one, other) + 1.0
        inside = min(max(lo + share * (hi - lo), lo), hi)
        rewards.append(reward(range=(lo, hi))(lambda completion, example, inside=inside: inside).named(f"r{k}"))
    total, product = rewards[0], rewards[0]
    for each, (*_, weight) in zip(rewards[1:], parts[1:], strict=True):
        total, product = total + weight * each, product * each
    group = Group(example=EXAMPLE, completions=(Completion(text="x"),))
    composed = [
        total,
        product,
        total.clip(-1, 1),
        gate(rewards[0].named("condition"), total),
        total.scheduled(linear(-1, 2, 3)).at(1),
    ]
    for each in composed:
        score_group(each, group)  # raises for a value outside the range


def test_part_order_and_weights_of_the_quickstart():
    total = 0.6 * SoftF1() + 0.3 * LabelAccuracy() + 0.1 * Format()
    assert list(total.weights.items()) == [("soft_f1", 0.6), ("label_accuracy", 0.3), ("format", 0.1)]
    assert total.range == (0.0, 1.0)
    assert GIoU().weights == {"giou": 1.0}
