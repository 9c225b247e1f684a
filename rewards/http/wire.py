"""One request to an OpenAI-compatible endpoint, and what its answer means. The key never leaves this file."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from groundrl.rewards.http.cache import Reply

MAX_REPLY_BYTES = 4_000_000
_RETRIED = (408, 409, 425, 429)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Failure(Exception):
    """The endpoint gave no reply, and the message says why. `again`: it may if asked again, after `after` seconds."""

    def __init__(self, reason: str, *, again: bool = False, after: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.after = after


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask: `base_url` up to and with `/v1`; `api_key_env` names the environment variable with the key.

    `asks` is whom it asks, as its messages say.
    """

    asks: Literal["judge", "model"]
    base_url: str
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"base_url must be an http or https address such as http://localhost:8000/v1: {self._shown}"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                f"base_url holds no user, password, query or fragment; the key goes by api_key_env: {self._shown}"
            )
        if self.api_key_env is not None:
            self.headers()

    @property
    def _shown(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def headers(self) -> dict[str, str]:
        """The headers of a request. ValueError where the key is wanted and not there."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "groundrl"}
        if self.api_key_env is None:
            return headers
        key = self.key()
        if not key:
            raise ValueError(f"the environment variable {self.api_key_env!r}, named by api_key_env, is not set")
        if not (key.isascii() and key.isprintable()):
            raise ValueError(f"the environment variable {self.api_key_env!r} holds no key: it has other characters")
        return headers | {"Authorization": f"Bearer {key}"}

    def key(self) -> str:
        """The key, without white space around it; empty where there is none."""
        return os.environ.get(self.api_key_env, "").strip() if self.api_key_env is not None else ""

    def redacted(self, text: str) -> str:
        """A text from the server without the key, which a server may echo."""
        key = self.key()
        return text.replace(key, "[key]") if key else text

    def post(self, body: Mapping[str, object], *, timeout: float) -> Reply:
        """Send one chat completion. Failure for everything but a well-formed reply; `timeout` in seconds in all."""
        import http.client
        import urllib.error
        import urllib.request

        url = self.base_url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=self.headers(), method="POST")
        until = time.monotonic() + timeout
        try:
            with _opener(urlsplit(url).hostname or "").open(request, timeout=timeout) as answer:
                data = self._read(answer, until=until)
        except urllib.error.HTTPError as problem:
            with problem:
                raise self._refusal(problem, until=until) from None
        except (OSError, http.client.HTTPException) as problem:  # URLError and timeouts are OSErrors
            raise Failure(self.redacted(f"{type(problem).__name__}: {problem}"), again=True) from None
        return self._reply(data)

    def _reply(self, data: bytes) -> Reply:
        try:
            return reply_of(json.loads(self.redacted(data.decode(errors="replace"))))
        except (ValueError, RecursionError) as problem:
            raise Failure(f"the {self.asks}'s answer is no chat completion: {problem}") from None

    def _refusal(self, problem: Any, *, until: float) -> Failure:
        """What a status that is not 2xx means."""
        import http.client

        status = problem.code
        if 300 <= status < 400:
            where = urlsplit(str(problem.headers.get("Location", ""))).hostname
            return Failure(f"HTTP {status}: redirected to {where!r}, and redirects are not followed; mend base_url")
        try:
            said = " ".join(self._read(problem, until=until).decode(errors="replace").split())
        except (OSError, http.client.HTTPException):  # the status alone says enough
            said = ""
        reason = f"HTTP {status}: {self.redacted(said)[:300]}"
        return Failure(reason, again=status in _RETRIED or status >= 500, after=_retry_after(problem.headers))

    def _read(self, answer: Any, *, until: float) -> bytes:
        """The whole body, up to a bound and a time; each read waits for one packet at most."""
        data = b""
        while chunk := answer.read1(65536):
            data += chunk
            if len(data) > MAX_REPLY_BYTES:
                raise Failure(f"the {self.asks}'s answer is longer than {MAX_REPLY_BYTES} bytes")
            if time.monotonic() > until:
                raise TimeoutError(f"the {self.asks}'s answer did not end in time")
        if getattr(answer, "length", None):  # bytes that were announced and did not come
            raise ConnectionError(f"the connection closed in the middle of the {self.asks}'s answer")
        return data


def reply_of(content: Any) -> Reply:
    """The reply in the JSON of a chat completion. ValueError for anything else."""
    choices = content.get("choices") if isinstance(content, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(first, dict) or not isinstance(text, str) or not text.strip():
        raise ValueError("it has no choices[0].message.content with a text")
    usage = content.get("usage")
    return Reply(
        text=text.encode(errors="replace").decode(),  # half of a surrogate pair can be written to no file
        finish_reason=str(first.get("finish_reason")),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
    )


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _retry_after(headers: Any) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms; 0 where there is none that can be read."""
    value = str(headers.get("Retry-After", "")).strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _opener(host: str) -> Any:
    """Follows no redirect; honours the environment's proxies except for this machine."""
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """Leaves a redirect as the error that it is."""

        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    proxies: dict[str, str] | None = {} if host in _LOOPBACK else None
    return urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler(proxies))
