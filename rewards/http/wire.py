"""One request to an OpenAI-compatible endpoint, and what its answer means. The key never leaves this file."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from groundrl.rewards.http.cache import Reply
from groundrl.rewards.http.redact import redactor

if TYPE_CHECKING:
    from groundrl.rewards.http.transfer import Response

MAX_REPLY_BYTES = 4_000_000
LONGEST_SHOWN = 300  # characters of what a server said, in a message
_RETRIED = (408, 409, 425, 429)


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
        try:
            parts = urlsplit(self.base_url)
            _ = parts.port  # reading it refuses what is no port
        except ValueError:
            raise ValueError("base_url has no host or no port (0 to 65535) that can be read") from None
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
        """A text from the server without the key, which a server may echo in any of the ways to write it."""
        return redactor(self.key())(text)

    def post(self, body: Mapping[str, object], *, timeout: float) -> Reply:
        """Send one chat completion. Failure for everything but a well-formed reply; `timeout` in seconds in all."""
        until = time.monotonic() + timeout
        from groundrl.rewards.http import transfer

        url = self.base_url.rstrip("/") + "/chat/completions"
        data, what = json.dumps(body).encode(), f"the {self.asks}'s answer"
        try:
            answer = transfer.post(url, data=data, headers=self.headers(), until=until, most=MAX_REPLY_BYTES, what=what)
        except transfer.Broken as problem:
            raise Failure(self._shown_text(str(problem)), again=problem.again) from None
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        try:
            reply = reply_of(json.loads(answer.data.decode(errors="replace")))
        except (ValueError, RecursionError) as problem:
            raise Failure(f"{what} is no chat completion: {problem}") from None
        return replace(reply, text=self.redacted(reply.text), finish_reason=self.redacted(reply.finish_reason))

    def _refusal(self, answer: Response) -> Failure:
        """What a status that is not 2xx means."""
        status = answer.status
        if 300 <= status < 400:
            where = _host(self._shown_text(answer.headers.get("Location", "")))
            return Failure(f"HTTP {status}: redirected to {where!r}, and redirects are not followed; mend base_url")
        reason = f"HTTP {status}: {self._shown_text(answer.data.decode(errors='replace'))}"
        return Failure(reason, again=status in _RETRIED or status >= 500, after=_retry_after(answer.headers))

    def _shown_text(self, text: str) -> str:
        """What a server said, as a message may show it: one line, no control characters, without the key, not long."""
        line = "".join(char for char in " ".join(text.split()) if char.isprintable())
        return self.redacted(line)[:LONGEST_SHOWN]


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
        text=_writable(text),
        finish_reason=_writable(str(first.get("finish_reason"))),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
    )


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # no address that can be read
        return None


def _writable(text: str) -> str:
    """The text without halves of surrogate pairs, which can be written to no file."""
    return text.encode(errors="replace").decode()


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
