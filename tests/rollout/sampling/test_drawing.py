"""What may be drawn and how likely, against the warpers of transformers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from groundrl.rollout.sampling.drawing import draw, processed_scores
from groundrl.rollout.settings import Sampling

V = 40
WARPERS = {
    "top_k": (TopKLogitsWarper, [1, 3, 100]),
    "top_p": (TopPLogitsWarper, [0.01, 0.5, 0.95]),
    "min_p": (MinPLogitsWarper, [0.05, 0.5, 1.0]),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_, values) in WARPERS.items() for value in values]
)
def test_each_cut_is_that_of_transformers(name, value):
    logits = torch.randn(64, V, generator=torch.Generator().manual_seed(0)) * 3
    expected = WARPERS[name][0](**{name: value})(None, logits / 0.7)
    found = processed_scores(logits, torch.zeros(V), Sampling(temperature=0.7, **{name: value}))
    torch.testing.assert_close(found, expected)


def test_all_cuts_in_the_order_of_transformers():
    logits = torch.randn(64, V, generator=torch.Generator().manual_seed(1)) * 3
    expected = logits / 0.7
    for warper in (TopKLogitsWarper(top_k=10), TopPLogitsWarper(top_p=0.8), MinPLogitsWarper(min_p=0.1)):
        expected = warper(None, expected)
    settings_ = Sampling(temperature=0.7, top_k=10, top_p=0.8, min_p=0.1)
    torch.testing.assert_close(processed_scores(logits, torch.zeros(V), settings_), expected)


def test_what_is_forbidden_takes_no_place_among_the_likeliest():
    """Logits 5 (forbidden), 2, 1, 0 with top_k = 2: the two that stay are 2 and 1, with 1/(1+1/e) and its rest."""
    forbidden = torch.tensor([-torch.inf, 0.0, 0.0, 0.0])
    scores = processed_scores(torch.tensor([[5.0, 2.0, 1.0, 0.0]]), forbidden, Sampling(top_k=2))
    assert scores.isfinite().tolist() == [[False, True, True, False]]
    chosen, logprobs = draw(scores.expand(2, -1), torch.tensor([0.0, 0.999], dtype=torch.float64))
    assert chosen.tolist() == [1, 2]
    first = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(logprobs, torch.tensor([math.log(first), math.log(1 - first)]))


@settings(max_examples=200)
@given(data=st.data())
def test_no_token_of_probability_zero_is_ever_drawn_and_logprobs_are_those_of_the_softmax(data):
    """Whatever the noise, the ends of the unit interval included, and however far logits lie apart."""
    value = st.one_of(st.floats(-200, 200, width=32), st.just(-math.inf))
    scores = torch.tensor([data.draw(st.lists(value, min_size=1, max_size=12).filter(lambda x: max(x) > -math.inf))])
    uniform = data.draw(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, math.nextafter(1, 0)])))
    chosen, logprob = draw(scores, torch.tensor([uniform], dtype=torch.float64))
    expected = scores.log_softmax(dim=-1)[0, chosen[0]]
    assert expected > -104, "the smallest probability of a float32"
    torch.testing.assert_close(logprob[0], expected, rtol=1e-5, atol=1e-5)
    assert draw(scores, None)[0].item() == scores.argmax()
