"""The endpoint engine against a real server on loopback: what it sends, what it makes of replies and of failures."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from groundrl.rewards import DataError, Example, ImageRef
from groundrl.rewards.core.function import load_module
from groundrl.rewards.http import client
from groundrl.rollout.sampling.endpoint import EndpointEngine, data_url
from groundrl.rollout.sampling.engine import Engine
from groundrl.rollout.settings import Sampling

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))


@pytest.fixture
def server(monkeypatch):
    """A server; pauses between attempts take no time."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.0)
    with web.judge_server() as found:
        yield found


def ask(server, examples, *, group_size=1, sampling=None, **more):
    engine = EndpointEngine(model="m", base_url=server.url, **more)
    assert isinstance(engine, Engine)
    keys = [f"0/{example.id}" for example in examples]
    sampling = sampling or Sampling(max_new_tokens=7, temperature=0.0)
    return engine, list(engine.generate(examples, group_size=group_size, sampling=sampling, seed_keys=keys))


def test_images_go_in_their_places_as_they_are(server, image, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sesame")
    first, second = image(1), image(2)
    server.act = web.says("2 nuclei <box>[[1, 2, 3, 4]]</box>", finish_reason="length")
    example = Example(id="a", prompt="First <image>, then <image>?", images=(first, second))
    _, (group,) = ask(server, [example], api_key_env="MY_KEY")
    (body,) = server.asked
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 7, 0.0)
    content = body["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls] == [
        first.source,
        second.source,
    ]
    assert server.headers[0]["Authorization"] == "Bearer sesame"
    assert server.paths == ["/v1/chat/completions"]
    (completion,) = group.completions
    assert (completion.text, completion.finish_reason) == ("2 nuclei <box>[[1, 2, 3, 4]]</box>", "length")
    assert len(completion.boxes) == 1


def test_other_formats_become_png_of_the_same_pixels(image, tmp_path):
    picture = Image.open(io.BytesIO(image(1).source))
    picture.save(tmp_path / "a.bmp")
    url = data_url(ImageRef(source=tmp_path / "a.bmp", width=48, height=32), "a")
    sent = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert sent.tobytes() == picture.tobytes()
    with pytest.raises(DataError, match=r"example 'a': the image .* cannot be read"):
        data_url(ImageRef(source=b"nothing", width=1, height=1), "a")


def test_what_may_pass_is_asked_again_and_the_rest_is_a_failure_not_a_zero(server):
    examples = [Example(id=name, prompt=name) for name in ("a", "b", "c")]

    def act(handler, body):
        wanted = body["messages"][0]["content"]
        tries = sum(other["messages"][0]["content"] == wanted for other in server.asked)
        if wanted == "a" and tries < 3:
            return web.fails(503)(handler, body)
        if wanted == "b":
            return web.fails(400, "no such model")(handler, body)
        return web.says(f"I say {wanted}")(handler, body)

    server.act = act
    engine, groups = ask(server, examples, concurrency=1)
    assert [(group.index, group.completions[0].text) for group in groups] == [(0, "I say a"), (2, "I say c")]
    assert engine.failures == {1: "HTTP 400: no such model"}


@pytest.mark.parametrize("act", ["hangs_up", "garbage", "empty", "stalls"])
def test_no_kind_of_broken_reply_is_an_answer(server, act):
    acts = {
        "hangs_up": web.hangs_up,
        "garbage": web.sends(b"<html>"),
        "empty": web.says(""),
        "stalls": web.stalls(30.0),
    }
    server.act = acts[act]
    engine, groups = ask(server, [Example(id="a", prompt="?")], retries=0, timeout=1.0)
    assert groups == []
    assert set(engine.failures) == {0}


def test_each_completion_has_a_seed_of_its_own(server):
    examples = [Example(id=name, prompt="?") for name in ("a", "b")]
    sampling = Sampling(temperature=0.7, top_p=0.9, stop=("END",))
    for _ in range(2):
        _, groups = ask(server, examples, group_size=2, sampling=sampling, extra={"top_k": 5, "max_tokens": None})
    assert [len(group.completions) for group in groups] == [2, 2]
    seeds = sorted(body["seed"] for body in server.asked)
    assert len(set(seeds)) == 4
    assert seeds[::2] == seeds[1::2], "the same the second time"
    body = server.asked[0]
    assert (body["top_p"], body["stop"], body["top_k"], "max_tokens" in body) == (0.9, ["END"], 5, False)


def test_a_model_behind_an_endpoint_is_not_trained(server):
    with pytest.raises(ValueError, match="can be evaluated, not trained"):
        EndpointEngine(model="m", base_url=server.url).sync({}, 1)


def test_a_model_that_fails_is_not_called_a_judge(server):
    for act in (web.sends(b"[]"), web.drips, web.sends(b"", length=5), web.says("x" * 4_000_001)):
        server.act = act
        engine, groups = ask(server, [Example(id="a", prompt="?")], retries=0, timeout=0.5)
        assert groups == []
        assert "the model's answer" in engine.failures[0] or "peer closed connection" in engine.failures[0]
        assert "judge" not in engine.failures[0]
