"""One POST on httpx: one deadline over the connection, the headers and the body, and a bound on what is read.

Imported when the first request is sent: httpx takes a third of the time that all of `groundrl.rewards` takes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from groundrl.rewards.http.threads import start

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Broken(Exception):
    """The exchange did not come to its end; the message is the innermost reason. `again`: another try may do better."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True, kw_only=True)
class Response:
    """What came back, undecoded."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def post(url: str, *, data: bytes, headers: Mapping[str, str], until: float, most: int, what: str) -> Response:
    """Send `data` and read all of `what`, the answer, before `until` on the monotonic clock. Broken where that fails.

    No redirect is followed, and of the environment only its proxies are heeded, not for this machine's own addresses.
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:  # this thread's own: nothing of it outlives this call
        try:
            return runner.run(_post(url, data=data, headers=headers, until=until, most=most, what=what))
        except TimeoutError:
            raise Broken(f"TimeoutError: {what} did not end in time") from None
        except (httpx.HTTPError, OSError) as problem:
            raise Broken(_innermost(problem)) from None
        except (httpx.InvalidURL, UnicodeError, ValueError, ImportError) as problem:  # an address or a proxy of no use
            raise Broken(f"{type(problem).__name__}: {problem}", again=False) from None


async def _post(url: str, *, data: bytes, headers: Mapping[str, str], until: float, most: int, what: str) -> Response:
    async with (
        asyncio.timeout_at(until),
        httpx.AsyncClient(trust_env=False, proxy=_proxy(httpx.URL(url)), verify=_trust(), timeout=None) as client,
        client.stream("POST", url, content=data, headers={**headers, "Accept-Encoding": "identity"}) as response,
    ):
        body = b""
        async for chunk in response.aiter_raw():  # as it came: what is compressed all the same is never unpacked
            body += chunk
            if len(body) > most:
                raise Broken(f"{what} is longer than {most} bytes", again=False)
        return Response(status=response.status_code, headers=response.headers, data=body)


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in a daemon thread: a lookup has no limit of time, and asyncio would wait for it at the end."""

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> Any:
        return await asyncio.wrap_future(start(lambda: socket.getaddrinfo(host, port, **hints)), loop=self)


@cache
def _trust() -> ssl.SSLContext:
    """The certificates that this machine trusts; reading them takes longer than a request."""
    return ssl.create_default_context()


def _proxy(url: httpx.URL) -> str | None:
    if url.host in LOOPBACK or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)


def _innermost(problem: BaseException) -> str:
    """What lies under the wrappings of three libraries, such as `ConnectionRefusedError: ...`."""
    under: BaseException | None = problem
    while under is not None:
        problem = under.exceptions[0] if isinstance(under, BaseExceptionGroup) else under
        under = problem.__cause__ or problem.__context__
    return f"{type(problem).__name__}: {problem}"
