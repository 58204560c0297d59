"""Carrying out a grid: independent jobs side by side in processes of their own, what is there kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from graphlib import TopologicalSorter
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Lock
from pathlib import Path
from types import MappingProxyType

from r1zero.errors import UserError
from r1zero.paper.jobs import Job, asked_at

Told = Callable[[Job, float | None], None]
"""Who is told that a job begins, and then in how many seconds it was done."""
NO_SECONDS: Mapping[str, float] = MappingProxyType({})
_LOOK_S = 0.5


def carry_out(
    jobs: Sequence[Job],
    out: Path,
    workers: int,
    told: Told,
    gpus: Mapping[str, int] | None = None,
    looked: Callable[[], None] | None = None,
    seconds: Mapping[str, float] = NO_SECONDS,
) -> None:
    """Carry out what is not done yet, `workers` at a time, each with one thread of computation. `looked` is called
    twice a second meanwhile, to see how far they are.

    With `gpus`, each job's number of them by its name, `workers` is how many there are: a job has its own, and begins
    when as many are free. Of those that need none, one runs beside them. With `seconds`, what each job is planned to
    take, the longest chains of jobs begin first.

    Interrupted, what is finished stays, and the rest goes on from its last checkpoints the next time. Where a server
    is away, all that does not need it is still done.

    Raises:
        UserError: a job has failed, in its sentence; or a directory holds something else.
    """
    schedule = Schedule(jobs, lambda job: job.done(out), workers, gpus, seconds)
    others = {*multiprocessing.active_children()}
    context = _context()
    books = context.Lock()
    with _processes(workers, gpus, context, books) as pool:
        try:
            while True:
                while (found := schedule.next()) is not None:
                    job, places = found
                    with _interrupts_held(), books:
                        future = pool.submit(_timed, job, out, None if gpus is None else places)
                    schedule.running[future] = job, places
                    told(job, None)
                if not schedule.running:
                    break
                finished, _ = wait(schedule.running, looked and _LOOK_S, FIRST_COMPLETED)
                if looked:
                    looked()
                for future in finished:
                    schedule.end(future, told)
        except BrokenProcessPool:
            raise _killed([job for job, _ in schedule.running.values()]) from None
        except BaseException:  # an interrupt too: no worker sees it, nor ends before its job does, unless it is told to
            for process in {*multiprocessing.active_children()} - others:
                process.terminate()
            raise
    for error in schedule.away.values():
        raise error


class Schedule:
    """Which jobs may begin, and on which places: `places` workers, or GPUs where `gpus` says how many a job needs.

    Those that the longest chain of planned seconds hangs on come first, and where nothing is planned, the first. A job
    that waits for more places than are free has them kept: before it go only those that end before it could begin, or
    that leave it enough.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        done: Callable[[Job], bool],
        places: int,
        gpus: Mapping[str, int] | None = None,
        seconds: Mapping[str, float] = NO_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.known, self.done, self.gpus = {job.name: job for job in jobs}, done, gpus
        self.seconds, self.clock = seconds, clock
        self.order = _sorter(jobs)
        self.order.prepare()
        self.chains = _chains(self.known, seconds)
        self.ready: list[Job] = []
        self.running: dict[Future[float], tuple[Job, list[int]]] = {}
        """What has begun, and where; whoever begins it says so."""
        self.begun: dict[str, float] = {}
        """When each job began, by the clock."""
        self.free = [*range(places)]
        self.away: dict[str, UserError] = {}
        """What was said of each server that has not answered. Jobs that ask it are not begun."""

    def next(self) -> tuple[Job, list[int]] | None:
        """Take the first job that may begin, and its places; None where none may. Those that are done already are
        passed over.
        """
        while names := self.order.get_ready():
            for job in (self.known[name] for name in names):
                if self.done(job):
                    self.order.done(job.name)
                else:
                    self.ready.append(job)
        self.ready = [job for job in self.ready if asked_at(job) not in self.away]
        self.ready.sort(key=lambda job: -self.chains[job.name])  # stable: as they came, where nothing is planned
        found = self._first()
        if found is None:
            return None
        self.ready.remove(found)
        self.begun[found.name] = self.clock()
        return found, [self.free.pop(0) for _ in range(self._needed(found))]

    def _first(self) -> Job | None:
        without = any(not self._needed(job) for job, _ in self.running.values())
        large: Job | None = None
        for job in self.ready:
            needed = self._needed(job)
            if not needed:
                if not without:
                    return job
            elif needed > len(self.free):
                large = large or job
            elif large is None or self._before(job, large):
                return job
        return None

    def _before(self, job: Job, large: Job) -> bool:
        """Tell whether a job may go before a larger one that waits: it makes it begin no later."""
        now, free, begins = self.clock(), len(self.free), 0.0
        for ends, places in sorted((self._end(each, now), len(places)) for each, places in self.running.values()):
            if free >= self._needed(large):
                break
            free, begins = free + places, ends
        spare = free - self._needed(large)
        return now + self.seconds.get(job.name, 0.0) <= begins or self._needed(job) <= spare

    def _end(self, job: Job, now: float) -> float:
        """Return when a running job ends as planned; now, where that is past."""
        return max(now, self.begun[job.name] + self.seconds.get(job.name, 0.0))

    def end(self, future: Future[float], told: Told) -> None:
        """Free a job's places, and let begin what waited for it. Raises what it has raised, but for a server's being
        away: that is told when all that does not need the server is done.
        """
        job, places = self.running[future]
        error = future.exception()
        if isinstance(error, UserError) and asked_at(job):
            self.away[asked_at(job)] = error
        elif error is not None:
            raise error
        else:
            told(job, future.result())
            self.order.done(job.name)
        del self.running[future]
        self.free = sorted([*self.free, *places])

    def _needed(self, job: Job) -> int:
        return 1 if self.gpus is None else self.gpus[job.name]


def _sorter(jobs: Iterable[Job]) -> TopologicalSorter[str]:
    return TopologicalSorter({job.name: {job.start} if job.start else set() for job in jobs})


def _chains(jobs: Mapping[str, Job], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return job → the planned seconds of the longest chain that begins with it."""
    order = [*_sorter(jobs.values()).static_order()]
    after = dict.fromkeys(order, 0.0)
    chains: dict[str, float] = {}
    for name in reversed(order):
        chains[name] = after[name] + seconds.get(name, 0.0)
        if name in jobs and (start := jobs[name].start):
            after[start] = max(after[start], chains[name])
    return chains


def planned_end(
    jobs: Sequence[Job], done: Callable[[Job], bool], places: int, gpus: Mapping[str, int], seconds: Mapping[str, float]
) -> float:
    """Return in how many seconds `carry_out` ends, if each job takes what is planned: by its own schedule."""
    now = 0.0
    schedule = Schedule(jobs, done, places, gpus, seconds, lambda: now)
    while True:
        while (found := schedule.next()) is not None:
            future: Future[float] = Future()
            future.set_result(seconds.get(found[0].name, 0.0))
            schedule.running[future] = found
        if not schedule.running:
            return now
        ends = {future: schedule.begun[job.name] + future.result() for future, (job, _) in schedule.running.items()}
        first = min(ends, key=lambda future: ends[future])
        now = ends[first]
        schedule.end(first, lambda job, took: None)


def _processes(workers: int, gpus: Mapping[str, int] | None, context: BaseContext, books: Lock) -> ProcessPoolExecutor:
    """Return processes for as many jobs as run side by side, one more where some need no GPU.

    Each job has one of its own: it gives all memory back that it has taken, and sees its own GPUs alone. While a job is
    submitted, `books` are held: the pool notes a process after it has started it, and loses its head over one that it
    does not know, whose job has ended meanwhile (CPython 3.11 to 3.13).
    """
    beside = gpus is not None and 0 in gpus.values()
    return ProcessPoolExecutor(workers + beside, context, _begin, (dict(os.environ), books), max_tasks_per_child=1)


def _killed(jobs: Sequence[Job]) -> UserError:
    return UserError(
        f"A process at work on {', '.join(job.name for job in jobs)} was killed, most often for want of memory; give "
        "the same command again to go on, with --workers 1 if memory is short."
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits, and processes begun meanwhile never see it: this process ends them, and says so itself."""
    resource_tracker.ensure_running()  # it would let interrupts through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _timed(job: Job, out: Path, gpus: Sequence[int] | None) -> float:
    """Carry out a job in this process, on these GPUs alone, if any are named; return its seconds."""
    if gpus is not None:
        seen = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(seen[i] if seen else str(i) for i in gpus)
    begun = time.monotonic()
    job.carry_out(out)
    return time.monotonic() - begun


def _context() -> BaseContext:
    """Return how workers come to be: forked from one process that has imported all this, which takes seconds, and
    nothing else; elsewhere than on Linux, where libraries do not bear that, each imports for itself.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _begin(environment: Mapping[str, str], books: Lock) -> None:
    """Ready a worker before its first job: one thread, quiet libraries, ended in order, at once when orphaned, and in
    the pool's books.
    """
    import datasets
    import torch

    os.environ.clear()  # of the process that it was forked from, which may be older than a change
    os.environ.update(environment)
    torch.set_num_threads(1)
    datasets.disable_progress_bars()

    def watch(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=watch, args=(parent,), daemon=True).start()
    with books:
        pass
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # last: the pool prints what an initialiser raises
