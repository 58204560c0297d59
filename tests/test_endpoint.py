"""A key goes to the address that was given, and is neither shown nor kept; what was asked is its owner's to read."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from r1zero.endpoint import Client, Endpoint, RefusedError, Store
from r1zero.errors import UserError

KEY = 'sk-"se\\cret"/7'  # which JSON writes otherwise


@contextmanager
def answering(status: int, body: str = "", raw: bytes = b"", **headers: str) -> Iterator[tuple[str, list[str]]]:
    """A server that says this to everything: its address, and the keys that it has seen."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            keys.append(str(self.headers.get("Authorization")))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if raw:
                self.wfile.write(raw)
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", keys
    server.shutdown()
    thread.join()
    server.server_close()


def asked(url: str, store: Path | None = None) -> dict[str, Any]:
    client = Client(Endpoint(url, "--judge", "R1ZERO_JUDGE_KEY", KEY, patience_s=0), Store(store))
    return client.ask("/x", {}, "key", dict)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429, 500, 503])
def test_an_echoed_key_is_not_told(status: int) -> None:
    """Whatever the status; a 200 that is no object, too."""
    refused = pytest.raises((UserError, RefusedError))
    with answering(status, f'"it was Bearer {KEY} and more"') as (url, keys), refused as caught:
        asked(url)
    assert keys[0] == f"Bearer {KEY}"
    assert status == 200 or "Bearer [key] and more" in str(caught.value)


def test_an_echoed_key_is_not_told_where_the_answer_is_not_even_http() -> None:
    with answering(200, raw=f"Bearer {KEY}\r\n\r\n".encode()) as (url, _), pytest.raises(UserError) as caught:
        asked(url)
    assert "Bearer [key]" in str(caught.value)


def test_an_echoed_key_is_not_kept(tmp_path: Path) -> None:
    body = {"text": f"a {KEY} b", KEY: [{"deep": KEY}], "number": 1}
    with answering(200, json.dumps(body)) as (url, _):
        found = asked(url, tmp_path / "kept.sqlite")
    assert found == {"text": "a [key] b", "[key]": [{"deep": "[key]"}], "number": 1}
    assert all(b"cret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_word_for_a_key_is_left_in_what_a_model_says() -> None:
    client = Client(Endpoint("http://localhost:1/v1", "--server", key="EMPTY"))
    assert client.endpoint.hide_key("the set is EMPTY", 6) == "the set is EMPTY"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_goes_nowhere_else(status: int) -> None:
    refused = pytest.raises(UserError, match="sends to another address, which does not get the key")
    with answering(200, "{}") as (elsewhere, keys), answering(status, Location=elsewhere) as (url, _), refused:
        asked(url)
    assert keys == []


@pytest.mark.parametrize("url", ["http://me:hunter2@host/v1", "https://hunter2@host:8000/v1", "http://:hunter2@host"])
def test_an_address_with_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserError, match="a name or a password before its @") as caught:
        Endpoint(url, "--server")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mask", [0, 0o022])
@pytest.mark.parametrize("before", [None, 0o644])
def test_what_was_asked_is_its_owners_to_read(tmp_path: Path, mask: int, before: int | None) -> None:
    """A new store and one of an earlier version; what SQLite puts beside it as well."""
    path = tmp_path / "judgements.sqlite"
    if before:
        Store(path).put("a", 1)
        path.chmod(before)
    old = os.umask(mask)
    try:
        store = Store(path)
        store._base.execute("PRAGMA journal_mode = WAL")
        store.put("b", 2)
    finally:
        os.umask(old)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)
    assert store.get("b") == 2
