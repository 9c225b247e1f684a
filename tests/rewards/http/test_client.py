"""Asking over a real connection: failures, retries, stalls, redirects, bounds, limits; the clock is the test's own."""

import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from groundrl.rewards.core.function import load_module
from groundrl.rewards.http import wire
from groundrl.rewards.http.cache import Reply
from groundrl.rewards.http.client import FIRST_PAUSE, LONGEST_PAUSE, Client, Clock
from groundrl.rewards.http.ledger import Ledger, Limits, OverBudget, Usage
from groundrl.rewards.http.wire import Endpoint, Failure

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))
BODY = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


@pytest.fixture
def server():
    with web.judge_server() as judge:
        yield judge


class FakeTime:
    """A clock that moves only when something sleeps on it; jitter is always in the middle."""

    def __init__(self):
        self.time, self.pauses = 1000.0, []

    @property
    def clock(self):
        return Clock(now=lambda: self.time, sleep=self.sleep, jitter=lambda: 0.5)

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.time += seconds


def client(server, fake, **settings):
    given = {"ledger": Ledger(), "cache": None, "limits": Limits(), "retries": 3, "timeout": 20.0} | settings
    return Client(endpoint=Endpoint(asks="judge", base_url=server.url), clock=fake.clock, **given)


def asked(made, fake, seconds=600.0):
    return made.ask(BODY, until=fake.time + seconds)


def test_the_request_is_a_chat_completion_and_the_reply_is_read(server):
    fake = FakeTime()
    made = client(server, fake)
    assert asked(made, fake) == Reply(text="Fine.\nVerdict: correct", prompt_tokens=10, completion_tokens=3)
    assert (server.paths, server.asked) == (["/v1/chat/completions"], [BODY])
    assert "Authorization" not in server.headers[0]
    assert made.ledger.read() == Usage(requests=1, prompt_tokens=10, completion_tokens=3)


CUT = web.sends(web.completion("Verdict: correct"), length=10_000)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_a_passing_failure_is_asked_again_with_a_doubling_pause(server, status):
    fake = FakeTime()
    server.acts = [web.fails(status)] * 3
    assert asked(client(server, fake), fake).text.endswith("correct")
    assert fake.pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]


@pytest.mark.parametrize("act", [web.hangs_up, CUT, web.sends(b"", length=5)], ids=["hangs up", "cut", "empty"])
def test_a_connection_that_closes_is_asked_again(server, act):
    fake = FakeTime()
    made = client(server, fake)
    server.acts = [act]
    assert asked(made, fake).text.endswith("correct")
    assert made.ledger.read().retries == 1


def test_nobody_at_the_address_is_asked_again_and_then_a_failure(server):
    fake = FakeTime()
    gone = Client(
        endpoint=Endpoint(asks="judge", base_url="http://127.0.0.1:9/v1"), clock=fake.clock,
        ledger=Ledger(), cache=None, limits=Limits(), retries=2, timeout=5.0,
    )  # fmt: skip
    with pytest.raises(Failure, match=r"^ConnectionRefusedError.*after 3 attempts"):
        asked(gone, fake)


def test_jitter_spreads_the_pauses_around_the_doubling_one(server):
    made = client(server, FakeTime())
    for jitter, share in ((0.0, 0.5), (0.999, 1.499)):
        vars(made)["clock"] = Clock(jitter=lambda jitter=jitter: jitter)
        assert made.pause(3, 0.0) == pytest.approx(8 * FIRST_PAUSE * share)
    vars(made)["clock"] = Clock()
    assert len({made.pause(0, 0.0) for _ in range(8)}) == 8


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        *(("7", 7.0), ("9999", LONGEST_PAUSE), ("-5", FIRST_PAUSE), ("soon", FIRST_PAUSE), ("9" * 400, LONGEST_PAUSE)),
        ("Wed, 21 Oct 2099 07:28:00 GMT", LONGEST_PAUSE),
        ("Wed, 21 Oct 2015 07:28:00 GMT", FIRST_PAUSE),
    ],
)
def test_retry_after_is_honoured_up_to_a_bound(server, header, pause):
    fake = FakeTime()
    server.acts = [web.fails(429, Retry_After=header)]
    asked(client(server, fake), fake)
    assert fake.pauses == [pause]


def test_a_wait_that_would_pass_the_deadline_fails_at_once(server):
    fake = FakeTime()
    server.act = web.fails(429, Retry_After="20")
    with pytest.raises(Failure, match=r"HTTP 429.*after 2 attempts; the next would pass the deadline"):
        asked(client(server, fake), fake, seconds=30.0)
    assert fake.pauses == [20.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_asked_again_and_says_why(server, status):
    fake = FakeTime()
    server.act = web.fails(status, "no such\nmodel")
    with pytest.raises(Failure, match=f"^HTTP {status}: no such model$"):
        asked(client(server, fake), fake)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"not json", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": {"0": 1}}', b"\xff"),
        *(b'{"choices": [{"message": {"content": null}}]}', b'{"choices": [{"message": {"content": "  "}}]}'),
        *(b'{"choices": [{"message": {"content": 7}}]}', b'{"choices": [{"message": "correct"}]}', b"[" * 100_000),
    ],
)
def test_what_is_no_chat_completion_is_a_failure(server, data):
    fake = FakeTime()
    server.act = web.sends(data)
    with pytest.raises(Failure, match="no chat completion"):
        asked(client(server, fake), fake)
    assert len(server.asked) == 1


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": -4}, {"prompt_tokens": "9"}, {"prompt_tokens": 1e99}])
def test_tokens_that_are_no_counts_are_none(usage):
    content = json.loads(web.completion("x")) | {"usage": usage}
    assert wire.reply_of(content).prompt_tokens == 0


def test_half_a_surrogate_pair_does_not_reach_the_records():
    content = {"choices": [{"message": {"content": "\ud800 Verdict"}, "finish_reason": "stop"}]}
    assert wire.reply_of(content).text.encode() == b"? Verdict"


@pytest.mark.parametrize("act", [web.stalls(60.0), web.drips], ids=["stalls", "drips"])
def test_a_judge_that_stalls_meets_the_timeout_and_is_asked_again(server, act):
    fake = FakeTime()
    made = client(server, fake, timeout=1.0, retries=1)
    server.acts = [act]
    assert asked(made, fake).text.endswith("correct")
    server.act = act
    with pytest.raises(Failure, match=r"(?i)time.*after 2 attempts"):
        asked(made, fake)


def test_an_endless_answer_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(wire, "MAX_REPLY_BYTES", 10_000)
    fake = FakeTime()
    server.act = web.says("x" * 20_000)
    with pytest.raises(Failure, match="longer than 10000 bytes"):
        asked(client(server, fake), fake)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_the_key_stays_here(server, status, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    with web.judge_server() as other:
        server.act = web.fails(status, Location=other.url + "/chat/completions")
        with pytest.raises(Failure, match=f"HTTP {status}: redirected to '127.0.0.1', and redirects are not followed"):
            Endpoint(asks="judge", base_url=server.url, api_key_env="JUDGE_KEY").post(BODY, timeout=10.0)
        assert other.asked == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://h:99999/v1", "http://[secret/v1"),
        *("file:///etc/passwd", "ftp://host/v1", "localhost:8000/v1", "http://", "", "data:text/plain,x", "/v1"),
        *("http://user:sk-secret@host/v1", "https://host/v1?api_key=sk-secret", "https://host/v1#sk-secret"),
    ],
)
def test_only_a_plain_http_address_is_taken_and_no_secret_in_it_is_shown(url):
    with pytest.raises(ValueError, match="base_url") as caught:
        Endpoint(asks="judge", base_url=url)
    assert "secret" not in str(caught.value)


def test_a_key_that_is_missing_or_no_header_is_refused_without_being_shown(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(ValueError, match="'JUDGE_KEY', named by api_key_env, is not set"):
        Endpoint(asks="judge", base_url="http://h/v1", api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "sk-secret\r\nX-Evil: 1")
    with pytest.raises(ValueError, match="holds no key") as caught:
        Endpoint(asks="judge", base_url="http://h/v1", api_key_env="JUDGE_KEY")
    assert "secret" not in str(caught.value)


def test_the_budget_of_requests_counts_every_attempt(server):
    fake = FakeTime()
    made = client(server, fake, limits=Limits(requests=3))
    server.acts = [web.fails(500)]
    asked(made, fake)
    asked(made, fake)
    with pytest.raises(OverBudget, match="budget of 3 requests is spent"):
        asked(made, fake)
    assert len(server.asked) == 3


def test_the_budget_of_tokens_stops_what_comes_after_it_is_spent(server):
    fake = FakeTime()
    made = client(server, fake, limits=Limits(tokens=20))
    asked(made, fake)
    asked(made, fake)  # 13 of 20 are spent: this one may go and overdraws
    with pytest.raises(OverBudget, match="budget of 20 tokens is spent"):
        asked(made, fake)
    assert len(server.asked) == 2


def test_the_rate_spaces_requests_evenly_and_a_turn_after_the_deadline_is_not_taken(server):
    fake = FakeTime()
    made = client(server, fake, limits=Limits(per_minute=30.0))
    for _ in range(3):
        asked(made, fake)
    assert fake.pauses == [2.0, 2.0]
    fake.time += 100.0  # a long rest gives no burst
    asked(made, fake)
    asked(made, fake)
    assert fake.pauses == [2.0, 2.0, 2.0]
    with pytest.raises(Failure, match="before a request could be sent"):
        asked(made, fake, seconds=1.0)
    assert made.ledger.read().requests == 5
    assert len(server.asked) == 5


def take_many(ledger: Ledger, limits: Limits, count: int) -> None:
    for _ in range(count):
        try:
            ledger.take(limits, now=0.0, until=1e9)
        except OverBudget:
            return


def test_processes_and_threads_share_one_account():
    ledger, limits = Ledger(), Limits(requests=900)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=take_many, args=(ledger, limits, 300)) for _ in range(2)]
    workers += [threading.Thread(target=take_many, args=(ledger, limits, 300)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert ledger.read().requests == 900


def test_requests_of_a_group_overlap_within_the_bound_and_a_late_one_is_given_up(server):
    made = Client(
        endpoint=Endpoint(asks="judge", base_url=server.url),
        ledger=Ledger(),
        cache=None,
        limits=Limits(),
        retries=0,
        timeout=30.0,
    )
    meet = threading.Barrier(3)

    def together(handler, body):
        meet.wait(timeout=30)  # three must be here at once, or it breaks
        web.says(body["messages"])(handler, body)

    server.act = together
    bodies = {str(k): {"messages": f"n{k}"} for k in range(9)}
    replies = made.ask_all(bodies, concurrency=3, deadline=60.0)
    assert {key: reply.text for key, reply in replies.items()} == {str(k): f"n{k}" for k in range(9)}
    assert server.most == 3
    server.act = web.stalls(60.0)
    late = made.ask_all({"a": BODY}, concurrency=1, deadline=0.3)
    assert "time" in late["a"].casefold()
