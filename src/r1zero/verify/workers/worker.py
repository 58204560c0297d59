r"""The program that grades one pair at a time: with Math-Verify, or with a user's own reward function.

    python -m r1zero.verify.workers.worker LIMIT_S START_S MEMORY_MB PARENT [REWARD [OPTIONS]]

Protocol: it prints `ready` after its imports, with what a reward asks for as JSON, or `failed: …` and ends; then for
every JSON line `{id, gold, answer}`, or `{id, fields}` of a reward, on standard input it prints one JSON line `{id,
outcome, rule, score}`, perhaps with `columns`; it ends at the end of its input.
`r1zero.verify.workers.pool` starts, limits and kills it.

Whatever happens to its parent, it does not outlive it: the kernel ends it with its parent (`lifeline`). Where that is
not to be had, it does not outlive its work: before every task (and before the imports) it arms an alarm whose default
action ends the process even inside C code, and while idle it watches its parent's process id.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from subprocess import TimeoutExpired
from typing import Any

from r1zero.verify.answers.characters import plain
from r1zero.verify.answers.numbers import unwrap
from r1zero.verify.extraction.boxes import balanced
from r1zero.verify.workers import lifeline
from r1zero.verify.workers.calling import Fields
from r1zero.verify.workers.custom_reward import Columns, Judgement, Reward, load_reward
from r1zero.verify.workers.second_grader import SECOND
from r1zero.verify.workers.start import import_ahead, look_beside

GRACE_S = 1.0
"""Seconds past the task's limit at which the worker ends itself, if its parent has not killed it by then."""
_PARENT_CHECK_S = 2.0
_MAX_MESSAGE = 200

Grader = Callable[[Any, str], Judgement]
Judge = Callable[[dict[str, Any]], tuple[Judgement, Columns]]


def main(argv: list[str]) -> None:
    """Serve until standard input ends. `argv`: limits of a task and of the start (s), memory (MB), parent's id."""
    limit_s, start_s, memory_mb, parent = float(argv[0]), float(argv[1]), int(argv[2]), int(argv[3])
    lifeline.hold()
    _arm(start_s)  # before anything that may hang, such as an import
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a killed worker leaves no core file behind
    # Read by libraries as they are imported: threads of theirs would not be in the child that `_in_child` forks.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    protocol = _private_stdout()  # before a user's module is imported, which may print
    try:
        reward = _load_reward(argv[4], limit_s, *map(json.loads, argv[5:])) if len(argv) > 4 else None
        judge = _by_reward(reward) if reward else _by_math_verify(load_grader(), limit_s, protocol)
    except Exception as error:  # noqa: BLE001  a user's module may raise anything while it is imported
        why = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}\n"
        os.write(protocol, why.encode("ascii", "replace"))
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.write(protocol, _ready(reward))
    while line := _next_line(parent):
        task = json.loads(line)
        _arm(limit_s + GRACE_S)
        (outcome, rule, score), columns = judge(task)
        reply = {"id": task["id"], "outcome": outcome, "rule": rule[:500], "score": score}
        told = json.dumps(reply | ({"columns": columns} if columns else {})) + "\n"
        signal.setitimer(signal.ITIMER_REAL, 0)  # before the reply: who has answered is not to die of the limit
        os.write(protocol, told.encode("ascii"))  # below PIPE_BUF, so written whole


def _by_reward(reward: Reward) -> Judge:
    return lambda task: reward_safely(reward, task["fields"])


def _by_math_verify(grade: Grader, limit_s: float, protocol: int) -> Judge:
    return lambda task: (_in_child(partial(grade_safely, grade, task["gold"], task["answer"]), limit_s, protocol), {})


def _in_child(judge: Callable[[], Judgement], limit_s: float, protocol: int) -> Judgement:
    """The judgement of a forked child, which is killed at the limit: a hanging answer does not cost another start.

    Only for Math-Verify, which is single-threaded: a user's own function may have started threads when it was imported.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _arm(limit_s + GRACE_S)  # a child inherits no timer, and would outlive a parent that is killed
        os.close(protocol)  # else the parent would not see that this worker ended
        os.close(0)  # the next tasks are the parent's to read
        try:
            os.write(writing, json.dumps(judge()).encode("ascii"))
        finally:
            os._exit(0)  # without what Python does at its end: buffers and handlers are the parent's
    os.close(writing)  # else the pipe would not end with the child
    in_time = bool(select.select([reading], [], [], limit_s)[0])
    found = os.read(reading, select.PIPE_BUF) if in_time else b""
    os.close(reading)
    os.kill(child, signal.SIGKILL)  # it may have ended by itself; it is reaped below, so its id is still its own
    os.waitpid(child, 0)
    if found:
        outcome, rule, score = json.loads(found)
        return outcome, rule, score
    return ("ungraded", "worker died", None) if in_time else ("timeout", f"killed after {limit_s:g} s", None)


def grade_safely(grade: Grader, gold: Any, answer: str) -> Judgement:
    """`grade(gold, answer)`, or ("ungraded", the reason, None) if it fails: our boundary to other people's code."""
    try:
        return grade(gold, answer)
    except MemoryError:
        return "ungraded", "out of memory", None
    except Exception as error:  # noqa: BLE001  sympy raises nearly every type there is
        return "ungraded", f"grader failed: {type(error).__name__}", None


def reward_safely(reward: Callable[[Fields], tuple[Judgement, Columns]], fields: Fields) -> tuple[Judgement, Columns]:
    """`reward(fields)`, or why there is none, with the error's message, which helps whoever wrote the function."""
    try:
        return reward(fields)
    except MemoryError:
        return ("ungraded", "out of memory", None), {}
    except TimeoutExpired:
        return ("timeout", "the command ran into the limit", None), {}
    except Exception as error:  # noqa: BLE001  users' code may raise any type
        message = " ".join(str(error).split())[:_MAX_MESSAGE]
        return ("ungraded", f"grader failed: {type(error).__name__}" + (f": {message}" if message else ""), None), {}


def _ready(reward: Reward | None) -> bytes:
    if reward is None:
        return b"ready\n"
    asks = reward.calling.asks
    return f"ready {json.dumps(None if asks is None else sorted(asks))}\n".encode("ascii")


def _load_reward(spec: str, limit_s: float, options: Any = None) -> Reward:
    """Return a user's function."""
    if spec in SECOND.values():
        import math_verify  # noqa: F401  now, so that the first answer's limit does not pay for it
    look_beside(spec)
    reward = load_reward(spec, limit_s, options)
    import_ahead(spec)
    return reward


def _arm(seconds: float) -> None:
    """End this process in `seconds`, by a signal that no Python code handles and no parent's mask holds back."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _private_stdout() -> int:
    """Return a descriptor for the protocol alone; what libraries print goes nowhere."""
    protocol = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return protocol


def _next_line(parent: int) -> bytes:
    """Return the next task's line; empty at the end of input or when the parent is gone.

    The process id is watched too because other children of the parent may hold our input's writing end open. At most
    one task is under way, so a readable input means that nothing is left in the buffer.
    """
    while not select.select([0], [], [], _PARENT_CHECK_S)[0]:
        if os.getppid() != parent:
            return b""
    return sys.stdin.buffer.readline()


def load_grader() -> Grader:
    r"""Return Math-Verify's comparison of two bare answers, as (outcome, rule).

    Both sides are wrapped in `\boxed{}`: with golds as data sets store them it scores 60 %, so 92 % (GRADERS.md). The
    box has priority over phrases such as "the answer is 3" inside an answer. No fallback to bare strings: Math-Verify's
    string of an unparsed text may be cut short, and two cut texts can be equal where the answers are not. Its
    own timeouts are signals that sympy's C code and callbacks swallow; they are off because the parent kills.
    """
    import logging

    # Imported here, not at the top: under the alarm and the memory limit, and only in this process.
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    where = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())

    def parsed(text: str) -> list[Any]:
        text = plain(unwrap(text))
        if not balanced(text):  # "3} \boxed{5" would make two boxes
            return []
        boxed = rf"\boxed{{{text}}}"
        return parse(boxed, where, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True)  # type: ignore[arg-type]

    parsed_gold = lru_cache(maxsize=256)(parsed)  # a group's G answers share their gold

    def grade(gold: str, answer: str) -> Judgement:
        golds = parsed_gold(gold)
        if not golds:
            return "ungraded", "gold unparsed", None
        answers = parsed(answer)
        if not answers:
            return "wrong", "unparsed", None
        same = verify(golds, answers, timeout_seconds=None, raise_on_error=True)
        return ("right" if same else "wrong"), "math_verify", None

    grade("x+1", r"\frac{x^2-1}{x-1}")  # ANTLR and sympy build their tables on first use: 0.3 s that no task should pay
    return grade


if __name__ == "__main__":
    main(sys.argv[1:])
