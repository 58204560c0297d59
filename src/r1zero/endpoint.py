"""An HTTP endpoint that speaks JSON: asked side by side, retried with back-off, and never asked the same thing twice.

What judges and the server sampler share. Every answer is on disk before anyone uses it, under a hash of what was asked,
so that an interrupted call goes on where it stopped. The key goes to the address that the user gave, and nowhere else:
not to where that redirects, not into a message, and not to disk, though the server echo it. The standard library is
enough for this.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sqlite3
import stat
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import TimeoutError as NotYet
from multiprocessing.pool import IMapIterator, ThreadPool
from pathlib import Path
from typing import Any, TypeVar

from r1zero.errors import UserError, reason

T = TypeVar("T")
R = TypeVar("R")
Slim = Callable[[dict[str, Any]], dict[str, Any]]

JUDGE_KEY = "R1ZERO_JUDGE_KEY"
"""The environment variable that holds the key of a language model that judges."""
_LONGEST_WAIT = 30.0
_STORED_KEY = 6  # letters of a key that is hidden in answers: a model may say EMPTY, and mean it
_MOST_SAID = 100_000  # bytes of an error
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_MENDABLE = {
    401: "does not accept the key (401); set {key} to a valid one",
    403: "does not let this key in (403); set {key} to one that may use the model",
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        "sends to another address, which does not get the key; give the address that it sends to, if you trust it",
    ),
    404: "has nothing at {path} (404); check the address, which usually ends in /v1, and the model's name",
}
_UNUSABLE_TRIES = 3  # of a server that answers, but not to what was asked: waiting longer mends little
_FAILURES = (OSError, http.client.HTTPException, ValueError)
"""What a server that is away, or dies while it answers, makes of a request; half an answer is no JSON."""


class RefusedError(Exception):
    """The endpoint will not take this one request, whoever asks however often: it is too long, say."""


class UnusableError(ValueError):
    """What came is no answer to what was asked; the message says why."""


class NotThereError(UserError):
    """The server has nothing at a path (404)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask. `setting` is what the user calls it, `key_setting` where the key is taken from."""

    url: str
    setting: str
    key_setting: str = ""
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 1800.0
    patience_s: float = 120.0
    """How long a server that is away is waited for."""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.username is not None or parts.password is not None:  # its text is nobody's to see
            raise UserError(
                f"{self.setting} holds a name or a password before its @, which would be printed; leave them out, and "
                f"set {self.key_setting or 'the key'} in their place."
            )
        spaced = any(character.isspace() or not character.isprintable() for character in self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or spaced:
            raise UserError(
                f"{self.setting} {self.url} is not a valid address: give one such as http://localhost:8000/v1."
            )
        key = (self.key or "").strip()
        if not (key.isascii() and key.isprintable()):  # its text is nobody's to see
            raise UserError(
                f"{self.key_setting or 'The key'} holds what no key has (a line break, or a letter that is not ASCII); "
                "set it to the key alone."
            )
        object.__setattr__(self, "key", key or None)

    @property
    def waits(self) -> list[float]:
        """Seconds before each new attempt: half a second, then twice as long each time, up to half a minute."""
        waits, left, wait = [], self.patience_s, 0.5
        while left > 0:
            waits.append(min(wait, left))
            left, wait = left - wait, min(2 * wait, _LONGEST_WAIT)
        return waits

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return one attempt. `path` is added to the address; one that begins with // replaces its /v1."""
        base = self.url.rstrip("/")
        address = base.removesuffix("/v1") + path[1:] if path.startswith("//") else base + path
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        data = json.dumps(body).encode()
        request = urllib.request.Request(address, data, headers, method="POST")
        with self._opener().open(request, timeout=self.timeout_s) as answer:
            found = self.hide_key(json.loads(answer.read()), _STORED_KEY)
        if not isinstance(found, dict):
            raise UnusableError("it is not a JSON object")
        return found

    def hide_key(self, value: Any, least: int = 4) -> Any:
        """Return plain data without the key, wherever it stands. One shorter than `least` is no secret, but a word."""
        if self.key is None or len(self.key) < least:
            return value
        if isinstance(value, str):
            return value.replace(self.key, "[key]")
        if isinstance(value, list):
            return [self.hide_key(each, least) for each in value]
        if isinstance(value, dict):
            return {self.hide_key(name, least): self.hide_key(each, least) for name, each in value.items()}
        return value

    def _opener(self) -> urllib.request.OpenerDirector:
        """Return proxies as the environment says, but none to this machine itself."""
        near = urllib.parse.urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")
        return urllib.request.build_opener(_NoRedirect, *([urllib.request.ProxyHandler({})] if near else []))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: what is asked goes on with its key."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Store:
    """Answers by the hash of what was asked, in a file of SQLite, or in memory where no path is given."""

    def __init__(self, path: Path | None = None):
        self.path, self._lock = path, threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                _make_private(path)
            self._base = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=60)
            with self._base:
                self._base.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{path} cannot be opened ({error}); remove it, or choose another --out.") from None

    def get(self, key: str) -> Any | None:
        """Return what was answered, None if it was never asked."""
        with self._lock:
            row = self._base.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        try:
            return json.loads(row[0]) if row else None
        except (json.JSONDecodeError, TypeError):  # damaged: as if it had never been asked
            return None

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer; it is on disk when this returns."""
        try:
            with self._lock, self._base:
                self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))
        except sqlite3.Error as error:
            raise UserError(
                f"{self.path} cannot be written ({error}); make room there and give the same command again."
            ) from None


def _make_private(path: Path) -> None:
    """Make a file that its owner alone reads; what SQLite puts beside it (-journal, -wal, -shm) has the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            with suppress(PermissionError):  # another's file, which its owner shares
                os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def as_text(text: str) -> str:
    """Return a text that can be written to a file: half a character, as JSON may hold one, becomes a replacement."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def content_key(*content: object) -> str:
    """Return a hash of everything that an answer depends on."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Client:
    """Asks an endpoint through a store. `counts` holds asked, stored (answered from the store), retried and refused."""

    def __init__(self, endpoint: Endpoint, store: Store | None = None):
        self.endpoint, self.store = endpoint, store or Store()
        self.counts: Counter[str] = Counter()
        self._lock, self._over = threading.Lock(), threading.Event()

    def ask(
        self, path: str, body: Mapping[str, Any], key: str, read: Callable[[dict[str, Any]], R], slim: Slim = dict
    ) -> R:
        """Return what `read` makes of the answer to `body`, from the store if `key` was answered before.

        `read` raises UnusableError for what is no answer, which is asked for again and never kept; `slim` leaves out
        what it does not need.

        Raises:
            RefusedError: the endpoint takes this request from nobody.
            UserError: it does not answer after all waits, or there is something to mend.
        """
        stored = self.store.get(key)
        if isinstance(stored, dict):
            try:
                found = read(stored)
            except UnusableError:  # of an earlier version, or damaged
                pass
            else:
                self.count("stored")
                return found
        answer, found = self._patiently(path, body, read, slim)
        self.store.put(key, answer)
        self.count("asked")
        return found

    def count(self, what: str, more: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self.counts[what] += more

    def _patiently(
        self, path: str, body: Mapping[str, Any], read: Callable[[dict[str, Any]], R], slim: Slim
    ) -> tuple[dict[str, Any], R]:
        why, over, unusable = "", self._over, 0
        for wait in (0.0, *self.endpoint.waits):
            if wait:
                self.count("retried")
            if over.wait(wait):
                break
            try:
                answer = slim(self.endpoint.post(path, body))
                return answer, read(answer)
            except urllib.error.HTTPError as error:
                why = self._judge(error, path)
            except (UnusableError, json.JSONDecodeError) as error:
                why, unusable = str(error), unusable + 1
                if unusable == _UNUSABLE_TRIES:
                    raise UserError(
                        f"{self.endpoint.setting} {self.endpoint.url} answers at {path}, but not with what was asked "
                        f"for ({why}); check the address, which usually ends in /v1, and the model's name, and give "
                        "the same command again: nothing of it was kept."
                    ) from None
            except _FAILURES as error:
                why = self.endpoint.hide_key(reason(error, None))
        raise UserError(
            f"{self.endpoint.setting} {self.endpoint.url} does not answer ({why or 'another request gave up'}; "
            f"tried {_times(len(self.endpoint.waits) + 1)}); start the server again and give the same command: nothing "
            "that it has answered is asked twice."
        )

    def _judge(self, error: urllib.error.HTTPError, path: str) -> str:
        """Return the reason to try again; raises where trying again is no use."""
        with error:
            whole = self.endpoint.hide_key(error.read(_MOST_SAID).decode(errors="replace"))
            said = " ".join(whole.split())[:300]
        if error.code in _BUSY:
            return f"{error.code} {said}".strip()
        if error.code in _MENDABLE:
            about = _MENDABLE[error.code].format(key=self.endpoint.key_setting or "its key", path=path)
            kind = NotThereError if error.code == 404 else UserError
            raise kind(f"{self.endpoint.setting} {self.endpoint.url} {about}. It said: {said or 'nothing'}")
        self.count("refused")
        raise RefusedError(f"{error.code} {said}".strip())

    def each(self, work: Sequence[T], do: Callable[[T], R], workers: int) -> Iterator[tuple[int, R]]:
        """`do` of every piece of work, `workers` at a time, in the order they finish, with their places in `work`.

        When one raises, no other is begun; those under way are waited for and given, and then it is raised.
        Threads that are waiting before a new attempt give up at once.
        """
        over = self._over = threading.Event()

        def attempt(index: int) -> tuple[int, R] | Exception | None:
            if over.is_set():
                return None
            try:
                return index, do(work[index])
            except Exception as error:  # noqa: BLE001  whatever it is, it is raised below, in the caller's thread
                over.set()
                return error

        failure: Exception | None = None
        try:
            # not ThreadPoolExecutor, whose threads Python waits for at its end: these are daemons, so that an
            # interrupt does not wait for a server that takes its time
            with ThreadPool(max(1, min(workers, len(work)))) as pool:
                for found in _polled(pool.imap_unordered(attempt, range(len(work)))):
                    if isinstance(found, Exception):
                        failure = failure or found
                    elif found is not None:
                        yield found
        finally:
            over.set()
            self._over = threading.Event()
        if failure is not None:
            raise failure


def _polled(results: IMapIterator[T]) -> Iterator[T]:
    """Yield results as they come, looking up every second.

    A signal that comes just before the main thread falls asleep on a lock does not wake it.
    """
    while True:
        try:
            yield results.next(timeout=1.0)
        except NotYet:
            continue
        except StopIteration:
            return


@dataclass(frozen=True, slots=True)
class Answer:
    """What a language model said, and the tokens that it counted."""

    text: str
    prompt_tokens: int
    answer_tokens: int


def read_answer(answer: dict[str, Any]) -> Answer:
    """Return a chat answer. Raises UnusableError where it is none."""
    try:
        said = answer["choices"][0]["message"]["content"]
        if isinstance(said, list):  # in parts
            said = "".join(part["text"] for part in said if part.get("type") == "text")
        if not isinstance(said, str | None):
            raise TypeError("its content is not text")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnusableError(f"it is not a chat completion: {error!r}") from None
    usage = answer.get("usage")
    counted = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, words = (count if isinstance(count, int) else 0 for count in counted)
    return Answer(as_text(said or ""), prompt, words)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
