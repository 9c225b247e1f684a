"""A server that never ends its answer holds neither the request beyond its deadline nor the process at its end."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from groundrl.rewards.core.function import load_module
from groundrl.rewards.http.cache import Cache
from groundrl.rewards.http.client import Client
from groundrl.rewards.http.ledger import Ledger, Limits
from groundrl.rewards.http.wire import Endpoint, Failure

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))
OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {  # what is sent first, and then for ever
    "header bytes": (OK + b"X-Slow: ", b"x"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X: y\r\n"),
    "refusal": (b"HTTP/1.1 401 No\r\nContent-Length: 100000\r\n\r\n", b"n"),
    "nothing": (b"", b""),
}


@contextmanager
def endless(first, then, pause):
    """A server at an address that sends `first`, then `then` again and again, until the block ends."""
    ended = threading.Event()

    def serve(connection):
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(first)
            while not ended.is_set():
                connection.sendall(then)
                time.sleep(pause)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)


def threads_of_ours():
    return [thread for thread in threading.enumerate() if thread.name == "ask" or "asyncio" in thread.name]


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["floods", "drips"])
@pytest.mark.parametrize(("first", "then"), ENDLESS.values(), ids=ENDLESS.keys())
def test_an_answer_without_an_end_ends_at_the_deadline(first, then, pause):
    with endless(first, then, pause) as url:
        began = time.monotonic()
        with pytest.raises(Failure, match=r"did not end in time|longer than|RemoteProtocolError"):
            Endpoint(asks="judge", base_url=url).post({"model": "m"}, timeout=0.5)
        assert time.monotonic() - began < 20  # not a speed: without the deadline it would never come here
    assert threads_of_ours() == []


def test_a_name_that_is_not_found_in_time_ends_at_the_deadline(monkeypatch):
    asked, released = threading.Event(), threading.Event()

    def slow(*args, **kwargs):
        asked.set()
        released.wait(60)
        raise OSError("nobody")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        with pytest.raises(Failure, match="did not end in time"):
            Endpoint(asks="judge", base_url="http://judge.invalid/v1").post({}, timeout=0.3)
        assert asked.is_set()
        assert all(thread.daemon for thread in threads_of_ours())
    finally:
        released.set()


SCRIPT = """
import sys, threading, time
from groundrl.rewards import Judge, Example, Completion, Reference, score_group, Group
judge = Judge(base_url=sys.argv[1], model="m", cache=None, timeout=600.0, deadline=0.5, retries=0)
example = Example(id="a", prompt="?", reference=Reference(label="x"))
print(score_group(judge, Group(example=example, completions=(Completion(text="x"),))).scores[0].status, flush=True)
"""


@pytest.mark.parametrize("what", ["header bytes", "continue"])
def test_the_process_ends_though_the_server_goes_on(what):
    with endless(*ENDLESS[what], 0.01) as url:
        done = subprocess.run([sys.executable, "-c", SCRIPT, url], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "error\n"), done.stderr


def test_whoever_stops_waiting_is_not_held_by_requests_under_way():
    """As Ctrl-C does: the threads that still ask must not be waited for, and ask for nothing further."""
    script = SCRIPT.replace("deadline=0.5", "deadline=600.0").replace(
        "print(",
        "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()\nprint(",
    )
    with endless(*ENDLESS["nothing"], 0.01) as url:
        done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, timeout=60)
    assert "KeyboardInterrupt" in done.stderr


def test_an_address_of_no_use_is_a_failure():
    for address in ("http://a b/v1", "http://" + "a" * 70 + ".invalid/v1"):
        with pytest.raises(Failure):
            Endpoint(asks="judge", base_url=address).post({}, timeout=5.0)


def test_what_is_compressed_all_the_same_is_not_unpacked():
    import gzip

    data = gzip.compress(b" " * 50_000_000)
    with web.judge_server() as server:
        server.act = lambda handler, body: web.answer(handler, data, Content_Encoding="gzip")
        with pytest.raises(Failure, match="no chat completion"):
            Endpoint(asks="judge", base_url=server.url).post({}, timeout=10.0)
        assert server.headers[0]["Accept-Encoding"] == "identity"


def test_the_environments_proxy_is_asked_but_for_this_machine_and_its_netrc_is_not_read(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine judge.invalid login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with web.judge_server() as server, web.judge_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        Endpoint(asks="judge", base_url="http://judge.invalid/v1").post({}, timeout=10.0)
        Endpoint(asks="judge", base_url=server.url).post({}, timeout=10.0)
        assert proxy.paths == ["http://judge.invalid/v1/chat/completions"]
        assert server.paths == ["/v1/chat/completions"]
        assert "Authorization" not in proxy.headers[0]


def test_an_exception_that_is_no_failure_of_the_endpoint_reaches_who_asked(tmp_path):
    (tmp_path / "file").write_text("no folder can be made here")
    with web.judge_server() as server:
        made = Client(
            endpoint=Endpoint(asks="judge", base_url=server.url), ledger=Ledger(), cache=Cache(tmp_path / "file"),
            limits=Limits(), retries=0, timeout=10.0,
        )  # fmt: skip
        with pytest.raises(NotADirectoryError):
            made.ask_all({"a": {}, "b": {}}, concurrency=2, deadline=30.0)
