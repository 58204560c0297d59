r"""`Verifier`: grades responses in the caller's process where that is cheap and certain, else in killable workers.

A worker is a separate program (`worker`), not a fork: it may be started from any thread, before or after
CUDA. It has one task in flight, and the parent waits on its pipe with a deadline. No signal, no thread and no
`multiprocessing` pool is used in the caller: a hanging answer costs its own limit once, then its worker is killed and
replaced, and the honest answers behind it are graded as ever.

A `Verifier` may be shared by threads, used from asyncio (`averify`), pickled (its copy has workers of its own), and
found in a forked child, which starts workers of its own and leaves its parent's alone. Inside a worker, where a reward
function may use one, it starts none and grades in place.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

from r1zero.errors import UserError
from r1zero.types import AnswerFormat, GradingTask, Outcome, Verdict
from r1zero.verify.extraction.extract import extract
from r1zero.verify.golds import final_gold
from r1zero.verify.grade import grade_exact
from r1zero.verify.workers import inside
from r1zero.verify.workers.calling import Fields, fields_of, selected
from r1zero.verify.workers.custom_reward import MAX_RESPONSE_CHARS, check_reward, said
from r1zero.verify.workers.process import Failure, WorkerProcess

MAX_ANSWER_CHARS = 2000
"""How much of an answer a verdict shows."""
MAX_TIMEOUT_S = 86_400.0
"""The longest limit of one comparison: a timer takes no infinity."""
_START_ATTEMPTS = 3
_MAX_TASKS = 3000  # of one worker, which is then replaced: sympy's caches grow
_REMEMBERED = 2048
_TURN_S = 0.05  # how long one thread waits for workers before others get their turn

Item = GradingTask | tuple[str, Sequence[str], AnswerFormat]
"""What is graded: a whole task, or (response, gold, answer format)."""


@dataclass(slots=True)
class _Task:
    """One response whose answer the exact path left open."""

    key: object
    answer: str
    golds: deque[str | list[str]]  # alternatives still to be compared; the first may be at a worker now
    doubt: Verdict | None = None  # the first alternative that nobody could grade
    seconds: float = 0.0
    fields: Fields | None = None  # all that a user's own reward may ask of it

    def told(self, asks: Sequence[str] | None) -> dict[str, object]:
        """Return what a worker is sent, whose reward asks for so much."""
        if self.fields is None:
            return {"gold": self.golds[0], "answer": self.answer}
        return {"fields": selected(self.fields, asks)}


@dataclass(frozen=True, slots=True)
class _Slot:
    """The key of an item of one `verify` call, so that its verdicts are told from those of `submit`."""

    batch: object
    index: int


class Verifier:
    """Grades (response, gold alternatives) pairs; a context manager that owns `workers` processes, started when needed.

    `timeout_s` limits each comparison of an answer with one gold alternative (wall clock, start-up not counted),
    `memory_mb` each worker's address space. `reward` names a user's own function or command (`custom_reward`), which
    then grades every response by itself; in a list of rewards it is `named` so, and has `options`. No response or gold
    raises: what cannot be graded is UNGRADED or TIMEOUT, and `counts` holds how often each outcome came.
    `Verdict.seconds` is grading time, without time in the queue. Any number of threads may call `verify`; `submit`,
    `ready` and `drain` are for one caller at a time.
    """

    def __init__(
        self,
        workers: int = 2,
        timeout_s: float = 2.0,
        memory_mb: int = 2048,
        reward: str | None = None,
        options: Mapping[str, Any] | None = None,
        named: str | None = None,
    ) -> None:
        """Start nothing yet.

        ValueError if a limit is none; UserError if `reward` can name nothing, or a worker asks for workers.
        """
        if workers < 1 or not 0 < timeout_s <= MAX_TIMEOUT_S or memory_mb < 1:
            raise ValueError(f"not all positive: workers={workers}, timeout_s={timeout_s}, memory_mb={memory_mb}")
        if reward is not None:
            check_reward(reward, named)
        inside.enter(reward)
        self.counts: Counter[Outcome] = Counter()
        self._size, self._timeout_s, self._memory_mb, self._reward = workers, timeout_s, memory_mb, reward
        self._options, self._named, self._closed = options, named, False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._queue: deque[_Task] = deque()
        self._at: dict[WorkerProcess, _Task | None] = {}
        self._done: deque[tuple[object, Verdict]] = deque()
        self._known: OrderedDict[tuple[str, str], Verdict] = OrderedDict()
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self._failure = ""

    def __reduce__(self) -> tuple[type[Verifier], tuple[object, ...]]:
        return Verifier, (self._size, self._timeout_s, self._memory_mb, self._reward, self._options, self._named)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill and reap every worker; pending tasks are dropped. May be called again; `submit` may not."""
        self._settle()
        with self._lock:
            self._closed = True
            for worker in list(self._at):
                self._discard(worker)
            self._queue.clear()
            self._selector.close()

    def check(self) -> None:
        """Start a worker and wait until it can grade. UserError if it cannot: a reward function that does not load."""
        self._settle()
        if inside.is_worker():
            return
        with self._lock:
            if not self._at:
                self._start()
            while not any(worker.started for worker in self._at) and self._failed_starts == 0:
                self._pump(None)
        if not any(worker.started for worker in self._at):
            what = said(self._reward, self._named) if self._reward else "the verifier's worker"
            why = self._failure or "it ended at once"
            raise UserError(f"{what} does not start ({why}); mend it, or raise verifier.memory_mb.")

    @property
    def pending(self) -> int:
        """Submitted responses whose verdict is still open."""
        return len(self._queue) + sum(task is not None for task in self._at.values())

    def _settle(self) -> None:
        """Let go, in a forked child, of the parent's workers and begin anew, without its unfinished tasks."""
        if os.getpid() != self._pid:
            for worker in self._at:
                worker.forget()
            self._begin()

    # -- asking

    def submit(self, key: object, task: GradingTask) -> None:
        """Take in one response; its verdict comes from `ready` or `drain` under `key`, which may be any object.

        Right if the answer equals any gold alternative; else, if some alternative could not be graded, that outcome;
        else wrong. Also moves the workers on without blocking, so that grading overlaps with the caller's work.
        RuntimeError after `close`.
        """
        self._settle()
        if self._closed:
            raise RuntimeError("this Verifier is closed")
        begun = time.perf_counter()
        decided = _whole(key, task) if self._reward else _decide(key, task.response, task.gold, task.answer_format)
        seconds = time.perf_counter() - begun
        with self._lock:
            if isinstance(decided, Verdict):
                self._finish(key, replace(decided, seconds=seconds))
            else:
                decided.seconds = seconds
                self._queue.append(decided)
            self._pump(0.0)

    def ready(self) -> list[tuple[object, Verdict]]:
        """Return the verdicts that are there by now, each once, in the order they were reached. Does not block."""
        self._settle()
        with self._lock:
            self._pump(0.0)
            found = list(self._done)
            self._done.clear()
        return found

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """Yield every verdict still owed, as it is reached; blocks until all that was submitted is answered."""
        self._settle()
        while self.pending or self._done:
            while self._done:
                yield self._done.popleft()
            with self._lock:
                if self.pending:
                    self._pump(None)

    def verify(self, items: Iterable[Item]) -> list[Verdict]:
        """Return the verdicts of (response, gold, answer format) items, or of whole `GradingTask`s, in order. Leaves
        other submissions alone.
        """
        batch, verdicts = object(), dict[int, Verdict]()
        total = 0
        for total, item in enumerate(items, start=1):
            self.submit(_Slot(batch, total - 1), item if isinstance(item, GradingTask) else GradingTask(*item))
        while True:
            with self._lock:
                others = deque[tuple[object, Verdict]]()
                for key, verdict in self._done:
                    if isinstance(key, _Slot) and key.batch is batch:
                        verdicts[key.index] = verdict
                    else:
                        others.append((key, verdict))
                self._done = others
                if len(verdicts) == total:
                    return [verdicts[index] for index in range(total)]
                self._pump(None)
            time.sleep(0)  # another thread's turn

    async def averify(self, items: Iterable[Item]) -> list[Verdict]:
        """`verify` without blocking the event loop."""
        return await asyncio.to_thread(self.verify, list(items))

    # -- the pool

    def _pump(self, wait_s: float | None) -> None:
        """Hand out tasks, take replies, kill the overdue: one round. Waits up to `wait_s` (None: one turn)."""
        if self._closed or not (self.pending or self._at):
            return
        self._hand_out()
        deadlines = [worker.deadline for worker in self._at if worker.deadline is not None]
        if wait_s is None:  # without a worker there is nothing to wait for: starting failed, and the queue was answered
            wait_s = min(_TURN_S, max(0.0, min(deadlines) - time.monotonic())) if deadlines else 0.0
        # Replies first, deadlines after: a reply that arrived in time counts even if the caller came back late.
        for key, _ in self._selector.select(wait_s):
            worker: WorkerProcess = key.data
            event = worker.read()
            if event is not None:
                self._take(worker, event)
        now = time.monotonic()
        for worker in [w for w in self._at if w.deadline is not None and w.deadline <= now]:
            self._take(worker, Failure.OVERDUE)
        self._hand_out()

    def _hand_out(self) -> None:
        """Answer what is known, give queued tasks to idle workers, and start as many more as the queue can use."""
        while self._queue and (reply := self._recall(self._queue[0])) is not None:
            self._compared(self._queue.popleft(), reply)
        if inside.is_worker():
            self._grade_here()
        for worker in [w for w, task in self._at.items() if w.idle and task is None]:
            if not self._queue:
                return
            task = self._at[worker] = self._queue.popleft()
            if not worker.send(task.told(worker.asks)):
                self._queue.appendleft(task)
                self._discard(worker)
        starting = sum(not worker.started for worker in self._at)
        while starting < len(self._queue) and len(self._at) < self._size and self._start():
            starting += 1

    def _grade_here(self) -> None:
        while self._queue:
            task = self._queue.popleft()
            begun = time.perf_counter()
            reply = inside.grade_here(task.golds[0], task.answer)
            task.seconds += time.perf_counter() - begun
            self._compared(task, reply)

    def _recall(self, task: _Task) -> Verdict | None:
        """Return what was found before about the same gold and answer: a group's samples repeat each other."""
        gold = task.golds[0]
        return self._known.get((gold, task.answer)) if isinstance(gold, str) else None

    def _remember(self, task: _Task, reply: Verdict) -> None:
        gold = task.golds[0]
        if isinstance(gold, str) and reply.rule != "worker died":
            self._known[gold, task.answer] = reply
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _start(self) -> bool:
        try:
            worker = WorkerProcess(self._timeout_s, self._memory_mb, self._reward, self._options)
        except OSError as error:  # no memory or processes left
            self._failure = str(error)
            self._start_failed()
            return False
        self._at[worker] = None
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return True

    def _start_failed(self) -> None:
        """Answer the queue after a few failures in a row, so that no caller waits for what cannot come."""
        self._failed_starts += 1
        if self._failed_starts < _START_ATTEMPTS or any(worker.started for worker in self._at):
            return
        while self._queue:
            task = self._queue.popleft()
            why = f": {self._failure}" if self._failure else ""
            self._conclude(task, task.doubt or Verdict(Outcome.UNGRADED, rule=f"no worker could be started{why}"))

    def _take(self, worker: WorkerProcess, event: Verdict | Failure) -> None:
        """Book one event of a worker: ready, a reply to its task, or its end."""
        task = self._at[worker]
        if isinstance(event, Failure):
            reply = worker.end(event)
            self._discard(worker)
            if not worker.started:
                self._failure = worker.failed_because
                self._start_failed()
            else:
                self._start()  # the next answer should not wait for its imports
        else:
            reply, self._at[worker], self._failed_starts = event, None, 0
            if self._reward is None and worker.served >= _MAX_TASKS:
                self._discard(worker)
        if task is not None:
            task.seconds += worker.busy_s
            self._remember(task, reply)
            self._compared(task, reply)

    def _compared(self, task: _Task, reply: Verdict) -> None:
        """Conclude the task of a decided alternative, or put it back for its next one."""
        task.golds.popleft()
        if reply.outcome is Outcome.RIGHT:
            self._conclude(task, reply)
            return
        if reply.outcome is not Outcome.WRONG and task.doubt is None:
            task.doubt = reply
        if task.golds:
            self._queue.appendleft(task)
        else:
            self._conclude(task, task.doubt or reply)

    def _conclude(self, task: _Task, verdict: Verdict) -> None:
        extracted = None if self._reward else task.answer
        self._finish(task.key, replace(verdict, extracted=extracted, seconds=task.seconds))

    def _finish(self, key: object, verdict: Verdict) -> None:
        self.counts[verdict.outcome] += 1
        self._done.append((key, verdict))

    def _discard(self, worker: WorkerProcess) -> None:
        del self._at[worker]
        self._selector.unregister(worker.output)
        worker.kill()


def _whole(key: object, task: GradingTask) -> Verdict | _Task:
    """For a user's own reward function: the response as it is, and all its golds at once."""
    if len(task.response) > MAX_RESPONSE_CHARS:
        return Verdict(Outcome.UNGRADED, rule="response too long")
    fields = fields_of(task)
    return _Task(key, task.response, deque([fields["gold"]]), fields=fields)


def _decide(key: object, response: str, gold: Sequence[str], answer_format: AnswerFormat) -> Verdict | _Task:
    """The verdict, if the exact path reaches one; else the answer, the undecided alternatives and any doubt so far."""
    alternatives = [gold] if isinstance(gold, str) else gold  # a bare string is one alternative, not its letters
    golds = [final_gold(text) for text in alternatives if text.strip()]
    if not golds:
        return Verdict(Outcome.UNGRADED, rule="no gold")
    answer = extract(response, answer_format)
    if answer is None:
        return Verdict(Outcome.NO_ANSWER, rule="no answer")
    found = [grade_exact(text, answer) for text in golds]
    shown = answer[:MAX_ANSWER_CHARS]
    decided = {verdict.outcome: verdict for verdict in reversed(found) if verdict is not None}
    if Outcome.RIGHT in decided:
        return replace(decided[Outcome.RIGHT], extracted=shown)
    doubt = replace(decided[Outcome.UNGRADED], extracted=shown) if Outcome.UNGRADED in decided else None
    undecided = deque[str | list[str]](text for text, verdict in zip(golds, found, strict=True) if verdict is None)
    if undecided:
        return _Task(key, answer, undecided, doubt)
    return doubt or replace(decided[Outcome.WRONG], extracted=shown)


@contextmanager
def open_verifier(
    workers: int = 2, timeout_s: float = 2.0, memory_mb: int = 2048, reward: str | None = None
) -> Iterator[Verifier]:
    """A `Verifier`; a user's own reward function is tried at once."""
    with Verifier(workers, timeout_s, memory_mb, reward) as verifier:
        if reward is not None:
            verifier.check()
        yield verifier
