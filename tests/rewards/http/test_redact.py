"""The key is found in a text however a server writes it there: the property, and over a real connection."""

import html
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundrl.rewards.core.function import load_module
from groundrl.rewards.http.redact import redactor
from groundrl.rewards.http.wire import Endpoint, Failure

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))
SECRET = r'sk-/a"b\c+Very&Secret'
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=24)
WRITTEN = [
    lambda c: c,
    lambda c: f"\\u{ord(c):04x}",
    lambda c: f"\\u{ord(c):04X}",
    lambda c: f"\\x{ord(c):02x}",
    lambda c: f"%{ord(c):02X}",
    lambda c: f"%{ord(c):02x}",
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
    lambda c: html.escape(c),
    lambda c: json.dumps(c)[1:-1],
    lambda c: "\\" + c if c in '"\\/' else c,
]


def unwound(text):
    """The text with every escape undone, by other code than what is tested."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1] or m[2], 16)), text)
    return html.unescape(unquote(text))


@given(KEYS, st.data())
def test_no_way_of_writing_it_leaves_the_key(key, data):
    how = data.draw(st.lists(st.sampled_from(WRITTEN), min_size=len(key), max_size=len(key)))
    written = "".join(write(char) for write, char in zip(how, key, strict=True))
    for nested in range(3):  # as a JSON string in a JSON string
        assert redactor(key)(f"<{written}>") == "<[key]>", nested
        written = json.dumps(written)[1:-1]


@given(KEYS, st.text(max_size=40))
def test_a_text_without_the_key_stays_as_it_is(key, text):
    text = text.encode(errors="replace").decode()
    if key not in unwound(text) and not set("\\%&") & set(text):
        assert redactor(key)(text) == text


def test_a_long_run_of_backslashes_takes_no_time():
    assert redactor("\\" * 40 + "x")("\\" * 200_000 + "y").endswith("y")


def forms(key):
    yield key
    yield key.replace('"', '\\"').replace("/", "\\/")
    yield "".join(f"\\u{ord(char):04x}" for char in key)
    yield "".join(f"%{ord(char):02X}" for char in key)
    yield html.escape(key)


def leaks(text):
    undone = text
    for _ in range(4):
        if SECRET in undone or "Very&Secret" in undone:
            return True
        undone = unwound(undone.replace('\\"', '"').replace("\\/", "/").replace("\\\\", "\\").replace("\x00", ""))
    return False


@pytest.fixture
def endpoint(monkeypatch):
    """An endpoint whose server echoes; the key is set."""
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    with web.judge_server() as server:
        yield server, Endpoint(asks="judge", base_url=server.url, api_key_env="JUDGE_KEY")


def test_a_reply_that_echoes_the_key_is_kept_without_it(endpoint):
    server, asked = endpoint
    plain = web.completion("It is TEXT.", finish_reason="FINISH").decode()
    escaped = "".join(f"\\u{ord(char):04x}" for char in SECRET)
    slashed = json.dumps(SECRET)[1:-1].replace("/", "\\/")
    for written in (escaped, slashed, json.dumps(slashed)[1:-1]):
        server.act = web.sends(plain.replace("TEXT", written).replace("FINISH", written).encode())
        reply = asked.post({}, timeout=10.0)
        assert (reply.text, reply.finish_reason) == ("It is [key].", "[key]")


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_refusal_that_echoes_the_key_is_told_without_it(endpoint, status):
    server, asked = endpoint
    for form in forms(SECRET):
        for body in (
            form,
            f'{{"error": "{form}"}}',
            json.dumps({"error": json.dumps({"message": form})}),
            "x" * 290 + form,
        ):
            server.act = web.fails(status, body)
            with pytest.raises(Failure, match=rf"^HTTP {status}: ") as caught:
                asked.post({}, timeout=10.0)
            assert not leaks(str(caught.value)), body
    server.act = lambda handler, body: web.answer(handler, SECRET.encode("utf-16"), status=status)
    with pytest.raises(Failure) as caught:
        asked.post({}, timeout=10.0)
    assert not leaks(str(caught.value))


def test_headers_that_echo_the_key_are_told_without_it(endpoint):
    server, asked = endpoint
    for form in forms(SECRET):
        for where in (f"http://{form}.example/", f"http://[{form}", form, f"http://h/{form}"):
            for status in (302, 307):
                server.act = web.fails(status, Location=where)
                with pytest.raises(Failure) as caught:
                    asked.post({}, timeout=10.0)
                assert not leaks(str(caught.value)), where

        def garbled(handler, body, form=form):
            handler.wfile.write(f"HTTP/1.1 {form} no\r\nbad {form}\r\n\r\n".encode())
            handler.close_connection = True

        server.act = garbled
        with pytest.raises(Failure) as caught:
            asked.post({}, timeout=10.0)
        assert not leaks(str(caught.value))
