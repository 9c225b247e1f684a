"""`Judge`: a reward that asks any OpenAI-compatible endpoint whether an answer is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.http.cache import Cache, Reply, key_of
from groundrl.rewards.http.client import Client
from groundrl.rewards.http.ledger import Ledger, Limits, Usage
from groundrl.rewards.http.wire import Endpoint
from groundrl.rewards.judge.parsers import Parser, Unreadable, verdict
from groundrl.rewards.judge.template import TEMPLATE, NoReference, check_template, render

_FIXED = ("model", "messages", "stream", "n")
_DAY = 86400.0
_BOUNDS = {"concurrency": (1, 256), "retries": (0, 20), "timeout": (0.001, _DAY), "deadline": (0.001, _DAY)}
_OPTIONAL = {"max_tokens": (1, 1e6), "requests_per_minute": (0.001, 1e6)}
_OPTIONAL |= {"request_budget": (1, 1e12), "token_budget": (1, 1e12)}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Judge(Reward):
    """What another model says of an answer: one request for each different answer of a group, sent together.

    The final answer alone is shown to it, quoted (`template.py`), never its `<think>`; `parser` is `verdict()` or
    `score(lo, hi)` and reads nothing but the last line of the judge's reply. An answer that is empty or cannot be
    found scores the low end and an example without a reference abstains, both without a request. No reply, an
    unreadable one, a spent budget: status `error` with the reason, never 0.

    `base_url` ends in `/v1`; `api_key_env` names the environment variable that holds the key. Replies are kept in the
    folder `cache` (None: nowhere) by model, prompt and parameters, so give each model its own name. `extra` adds fields
    to the request's body (None takes one out). A group has `deadline` seconds, a request `timeout`, and is sent again
    up to `retries` times; with reward workers, their deadline should be longer. `concurrency` requests a group are
    under way at once. `request_budget`, `token_budget` and `requests_per_minute` hold over all reward workers of a
    process; tokens are what the server reports.
    """

    name = "judge"
    costly = True
    base_url: str
    model: str
    template: str = TEMPLATE
    parser: Parser = field(default_factory=verdict)
    api_key_env: str | None = None
    cache: str | None = "~/.cache/groundrl/judge"
    max_tokens: int | None = 512
    seed: int | None = 0
    extra: Mapping[str, object] = field(default_factory=dict)
    concurrency: int = 8
    timeout: float = 30.0
    deadline: float = 60.0
    retries: int = 4
    requests_per_minute: float | None = None
    request_budget: int | None = None
    token_budget: int | None = None

    def __post_init__(self) -> None:
        self._endpoint()
        check_template(self.template)
        if not isinstance(self.parser, Parser):
            raise ValueError(f"Judge: parser must be verdict() or score(lo, hi), got {self.parser!r}")
        for name, (lo, hi) in (_BOUNDS | _OPTIONAL).items():
            value = getattr(self, name)
            if not (name in _OPTIONAL and value is None) and not lo <= value <= hi:
                raise ValueError(f"Judge: {name} must be from {lo:g} to {hi:g}, got {value}")
        if fixed := [name for name in self.extra if name in _FIXED]:
            raise ValueError(f"Judge: extra cannot set {', '.join(fixed)}")
        try:
            json.dumps(dict(self.extra), allow_nan=False)
        except (TypeError, ValueError) as problem:
            raise ValueError(f"Judge: extra must be what JSON can hold: {problem}") from None
        vars(self)["range"] = self.parser.range
        vars(self)["_ledger"] = Ledger()

    @property
    def usage(self) -> Usage:
        """What this judge has cost since it was made, its copies in reward workers included."""
        ledger: Ledger = vars(self)["_ledger"]
        return ledger.read()

    def score(self, completion: Completion, example: Example) -> Score:
        """The judge's score of one completion."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """The scores of a group; answers that are the same are asked about once."""
        asked = [self._request(completion, example) for completion in completions]
        bodies = {key_of(request): request for request in asked if not isinstance(request, Score)}
        replies = self._replies(bodies)
        scores = [each if isinstance(each, Score) else self._read(replies[key_of(each)]) for each in asked]
        if errors := sum(score.status == "error" for score in scores):
            self._client().ledger.add(errors=errors)
        return scores

    def _request(self, completion: Completion, example: Example) -> dict[str, object] | Score:
        """The body of the request about a completion, or its score where there is nothing to ask."""
        if completion.answer is None:
            return Score(value=self.range[0], detail={"reason": f"answer: {completion.parsed.status}"})
        try:
            prompt = render(self.template, completion.answer, example, self.parser)
        except NoReference:
            return Score(value=None, status="abstain", detail={"reason": "the reference has nothing in words"})
        body: dict[str, object] = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        body |= {"temperature": 0, "max_tokens": self.max_tokens, "seed": self.seed, **self.extra}
        return {name: value for name, value in body.items() if value is not None}

    def _replies(self, bodies: Mapping[str, Mapping[str, object]]) -> dict[str, Reply | str]:
        client = self._client()
        found = {key: client.cache.get(key) if client.cache is not None else None for key in bodies}
        replies: dict[str, Reply | str] = {key: reply for key, reply in found.items() if reply is not None}
        if replies:
            client.ledger.add(cache_hits=len(replies))
        missing = {key: body for key, body in bodies.items() if key not in replies}
        if missing:
            replies |= client.ask_all(missing, concurrency=self.concurrency, deadline=self.deadline)
        return replies

    def _read(self, reply: Reply | str) -> Score:
        """The score that a reply gives, with its end for a person to read."""
        if isinstance(reply, str):
            return Score(value=None, status="error", detail={"reason": f"judge: {reply}"})
        shown = reply.text if len(reply.text) <= 600 else "... " + reply.text[-600:]
        try:
            if reply.finish_reason == "length":
                raise Unreadable(f"the reply was cut off at max_tokens={self.max_tokens}")
            value = self.parser.read(reply.text)
        except Unreadable as problem:
            return Score(value=None, status="error", detail={"reason": f"judge: {problem}", "reply": shown})
        return Score(value=value, detail={"reply": shown})

    def _endpoint(self) -> Endpoint:
        return Endpoint(asks="judge", base_url=self.base_url, api_key_env=self.api_key_env)

    def _client(self) -> Client:
        return Client(
            endpoint=self._endpoint(),
            ledger=vars(self)["_ledger"],
            cache=Cache(Path(self.cache).expanduser()) if self.cache is not None else None,
            limits=Limits(requests=self.request_budget, tokens=self.token_budget, per_minute=self.requests_per_minute),
            retries=self.retries,
            timeout=self.timeout,
        )
