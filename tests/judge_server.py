"""A real HTTP server on loopback that judges as it is told to, fails, stalls and lies; it keeps what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """One request: noted, then handed to the act of the day."""

    judge: "JudgeServer"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.judge.lock:
            self.judge.asked.append(body)
            self.judge.headers.append(dict(self.headers))
            self.judge.paths.append(self.path)
            act = self.judge.acts.pop(0) if self.judge.acts else self.judge.act
            self.judge.now += 1
            self.judge.most = max(self.judge.most, self.judge.now)
        try:
            act(self, body)
        finally:
            with self.judge.lock:
                self.judge.now -= 1

    def log_message(self, *args: object) -> None:
        """Silent."""


def answer(handler: Handler, data: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def completion(text: str, finish_reason: str = "stop") -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 3}}).encode()


def says(text: str, finish_reason: str = "stop") -> Act:
    return lambda handler, body: answer(handler, completion(text, finish_reason))


def fails(status: int, text: str = "no", **headers: str) -> Act:
    return lambda handler, body: answer(handler, text.encode(), status=status, **headers)


def sends(data: bytes, length: int | None = None) -> Act:
    return lambda handler, body: answer(handler, data, length=length)


def hangs_up(handler: Handler, body: dict[str, Any]) -> None:
    handler.close_connection = True


def stalls(seconds: float) -> Act:
    def act(handler: Handler, body: dict[str, Any]) -> None:
        handler.judge.released.wait(seconds)
        handler.close_connection = True

    return act


def drips(handler: Handler, body: dict[str, Any]) -> None:
    """A byte now and then, never the end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.judge.released.is_set():
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.02)


def shown_answer(body: dict[str, Any]) -> str:
    """The answer that a request quotes."""
    prompt = body["messages"][0]["content"]
    return prompt.partition("<answer>\n")[2].rpartition("\n</answer>")[0]


def knows(*right: str) -> Act:
    """An honest judge: these answers are correct, all others are not."""
    return lambda handler, body: answer(
        handler, completion(f"Reason.\nVerdict: {'correct' if shown_answer(body) in right else 'incorrect'}")
    )


@dataclass
class JudgeServer:
    """`act` for every request, after those in `acts`, one each."""

    act: Act = field(default_factory=lambda: says("Fine.\nVerdict: correct"))
    acts: list[Act] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    now: int = 0
    most: int = 0


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """A server at `url` for as long as the block lasts."""
    judge = JudgeServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"judge": judge}))
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        judge.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
