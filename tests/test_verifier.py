"""The pool: real workers, real hangs and real kills, from threads, asyncio, forks and spawned processes."""

import asyncio
import json
import multiprocessing
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from processes import Process, below, wait_ended, wait_for
from r1zero.types import AnswerFormat, GradingTask, Outcome
from r1zero.verify import Verifier
from r1zero.verify.workers.worker import GRACE_S

BOXED = AnswerFormat.BOXED
SHARED = Path(__file__).resolve().parents[2] / "shared"
# Where nothing is to run into a limit, however slow and busy the machine: it only ends what hangs.
PLENTY_S = 600.0
# Each of these gets past the guard, and keeps Math-Verify 0.9.0 busy far beyond any limit.
HANGS = [rf"\int_0^{{1}} \sin(x^{{x}}) \cos(\sin x) \log({k}+x^5) dx" for k in range(1, 5)]


def lim(n: object) -> str:
    """x + n, in a form that only a worker can read."""
    return rf"\lim_{{t \to 0}} {n}+x"


def box(answer: str) -> str:
    return rf"so the answer is $\boxed{{{answer}}}$."


def workers_of(parent: int) -> set[Process]:
    """The worker processes of `parent`, without those that they have started."""
    return {each for each in below(parent, "r1zero.verify.workers.worker") if each.parent == parent}


# -- the pool


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=2, timeout_s=PLENTY_S) as pool:
        yield pool


@pytest.mark.parametrize(
    "gold, answer, outcome",
    [
        (["1+x"], "x+1", Outcome.RIGHT),
        ([r"\frac{x+2}{7}"], r"\frac{x}{7}+\frac{2}{7}", Outcome.RIGHT),
        (["x"], "y", Outcome.WRONG),
        (["y", "x+1"], "1+x", Outcome.RIGHT),
        (["y", "z"], "1+x", Outcome.WRONG),
        (["7", "x+1"], "7.0", Outcome.RIGHT),
        (["x+1"], r"\frac{", Outcome.NO_ANSWER),
        (["x+1"], r"\notalatexcommand{{}", Outcome.NO_ANSWER),
        (["x+1"], "中文", Outcome.WRONG),
        (["x+1"], "x+1 \x00 \ud800", Outcome.WRONG),
        (["x+1"], lim(1), Outcome.RIGHT),
        (["x+2"], lim(1), Outcome.WRONG),
        (["\ud800"], "x+1", Outcome.UNGRADED),
        (["{"], "x+1", Outcome.UNGRADED),
        (["{", "1+x"], "x+1", Outcome.RIGHT),
        (["{", "7+x"], "x+1", Outcome.UNGRADED),
        (["12:00"], "x", Outcome.WRONG),
        ([], "5", Outcome.UNGRADED),
        (["", " "], "5", Outcome.UNGRADED),
        (["5"], "9" * 2001, Outcome.WRONG),
        (["9" * 2001], "5", Outcome.UNGRADED),
    ],
)
def test_pool_outcomes(verifier, gold, answer, outcome):
    [verdict] = verifier.verify([(box(answer), gold, BOXED)])
    assert verdict.outcome is outcome
    assert verdict.rule
    assert verdict.seconds > 0


def test_answer_with_a_brace_too_many_is_one_answer(verifier):
    response = r"</think> <answer>3} \boxed{5}</answer>"
    assert verifier.verify([(response, ["5"], AnswerFormat.ANSWER_TAGS)])[0].right  # the last box rules
    response = r"</think> <answer>y} x+1 {z</answer>"
    [verdict] = verifier.verify([(response, ["1+x"], AnswerFormat.ANSWER_TAGS)])
    assert (verdict.outcome, verdict.rule) == (Outcome.WRONG, "unparsed")


def test_under_the_papers_own_rule_a_broken_answer_is_wrong_and_a_missing_tag_is_no_answer(verifier):
    outcomes = {
        "</think> <answer> 5 </answer>": Outcome.RIGHT,
        r"</think> <answer> \boxed{5} </answer>": Outcome.RIGHT,
        "</think>\n<answer> 5 </answer>": Outcome.NO_ANSWER,
        "</think> <answer> 5": Outcome.NO_ANSWER,
        r"</think> <answer> \boxed{5 </answer>": Outcome.WRONG,
        "</think> <answer> </answer>": Outcome.WRONG,
    }
    found = verifier.verify([(response, ["5"], AnswerFormat.ANSWER_TAGS_STRICT) for response in outcomes])
    assert [verdict.outcome for verdict in found] == list(outcomes.values())


def test_megabytes_and_a_bare_string_gold(verifier):
    huge = "\\boxed{" * 150_000
    verdicts = verifier.verify([(huge, ["5"], BOXED), (box("1" * 1_000_000), ["5"], BOXED), (box("15"), "15", BOXED)])
    assert [v.outcome for v in verdicts] == [Outcome.NO_ANSWER, Outcome.WRONG, Outcome.RIGHT]
    assert verdicts[1].rule == "refused: too long"


def test_submit_ready_drain_and_verify_keep_their_own(verifier):
    verifier.submit("slow", GradingTask(box(lim(1)), ["1+x"], BOXED))
    verifier.submit("fast", GradingTask(box("5"), ["5"], BOXED))
    assert [v.outcome for v in verifier.verify([(box(lim(9)), ["9+x"], BOXED)])] == [Outcome.RIGHT]
    answered = dict(verifier.ready())
    answered |= dict(verifier.drain())
    assert {key: v.outcome for key, v in answered.items()} == {"slow": Outcome.RIGHT, "fast": Outcome.RIGHT}
    assert verifier.pending == 0
    assert list(verifier.drain()) == []


def test_the_cheap_path_starts_no_worker_and_the_import_is_light():
    code = (
        "import sys; from r1zero.verify import Verifier; from r1zero.types import AnswerFormat as A, GradingTask as T\n"
        "with Verifier() as v:\n"
        "    assert v.verify([('\\\\boxed{5}', ['5'], A.BOXED), ('\\\\boxed{6}', ['5'], A.BOXED)])[0].right\n"
        "    assert not v._at\n"
        "assert not {'torch', 'sympy', 'math_verify'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PLENTY_S)


@pytest.mark.slow
def test_hanging_answers_are_timeouts_and_honest_ones_between_them_are_right():
    before = workers_of(os.getpid())  # the module's shared pool
    limit_s = 5.0  # an honest answer takes a twentieth of a second on a free core
    honest = [(box(lim(n)), [f"{n}+x"], BOXED) for n in range(6)]
    items = honest[:2]
    for n, hang in enumerate(HANGS[:2]):
        items += [(box(hang), ["x+1"], BOXED), *honest[2 + 2 * n : 4 + 2 * n]]
    with Verifier(workers=2, timeout_s=limit_s) as pool:
        pool.check()
        begun = time.perf_counter()
        verdicts = pool.verify([*items, (box("x"), ["{"], BOXED)])
        elapsed = time.perf_counter() - begun
        expected = [Outcome.RIGHT] * 2 + [Outcome.TIMEOUT, Outcome.RIGHT, Outcome.RIGHT] * 2 + [Outcome.UNGRADED]
        assert [v.outcome for v in verdicts] == expected
        assert [v.extracted for v in verdicts[:3]] == [lim(0), lim(1), HANGS[0]]
        assert all(v.seconds >= limit_s for v in verdicts if v.outcome is Outcome.TIMEOUT)
        # Grading time is no time in the queue: two workers grade for as long as it took, at most.
        assert sum(v.seconds for v in verdicts) < 2 * elapsed
        assert pool.counts == {Outcome.RIGHT: 6, Outcome.TIMEOUT: 2, Outcome.UNGRADED: 1}
        assert not any(v.graded for v in verdicts if v.outcome in (Outcome.TIMEOUT, Outcome.UNGRADED))
    assert workers_of(os.getpid()) == before


def test_a_caller_that_comes_back_late_loses_nothing():
    limit_s = 4.0
    with Verifier(workers=2, timeout_s=limit_s) as pool:
        pool.verify(many(2))
        wait_for(lambda: (pool.ready() == [] and sum(worker.idle for worker in pool._at) == 2) or None, "two idle ones")
        pool.submit("hang", GradingTask(box(HANGS[0]), ["x+1"], BOXED))
        pool.submit("honest", GradingTask(box(lim(9)), ["9+x"], BOXED))
        late = max(worker.deadline for worker in pool._at) + GRACE_S  # past the worker's own alarm too
        for worker in pool._at:  # both reply, and nobody reads it
            assert select.select([worker.output], [], [], PLENTY_S)[0]
        time.sleep(max(0.0, late - time.monotonic()))
        verdicts = dict(pool.drain())
    assert verdicts["honest"].right
    assert verdicts["hang"].outcome is Outcome.TIMEOUT


def test_a_worker_killed_from_outside_costs_at_most_its_own_task():
    before = workers_of(os.getpid())
    with Verifier(workers=1, timeout_s=PLENTY_S) as pool:
        assert pool.verify([(box(lim(1)), ["1+x"], BOXED)])[0].right
        [idle] = workers_of(os.getpid()) - before
        idle.kill()  # it has ended, and closed its pipes: before that, a task may still be handed to it and be lost
        assert pool.verify([(box(lim(2)), ["2+x"], BOXED)])[0].right  # it died idle: nobody's loss
        pool.submit("victim", GradingTask(box(HANGS[0]), ["x+1"], BOXED))
        pool.submit("next", GradingTask(box(lim(3)), ["3+x"], BOXED))
        [busy] = workers_of(os.getpid()) - before
        [child] = wait_for(lambda: below(busy.pid) or None, "a child that computes")
        busy.kill()
        verdicts = dict(pool.drain())
        wait_ended([child])
    assert (verdicts["victim"].outcome, verdicts["victim"].rule) == (Outcome.UNGRADED, "worker died")
    assert verdicts["next"].right


def test_workers_that_cannot_start_leave_answers_ungraded():
    with Verifier(workers=2, memory_mb=20) as pool:  # too little even for the interpreter
        verdicts = pool.verify([(box(lim(1)), ["1+x"], BOXED), (box("5"), ["5"], BOXED)])
    assert [v.outcome for v in verdicts] == [Outcome.UNGRADED, Outcome.RIGHT]
    assert verdicts[0].rule.startswith("no worker could be started")


def test_no_worker_survives_a_killed_parent():
    code = (
        "import time; from r1zero.verify import Verifier\n"
        "from r1zero.types import AnswerFormat as A, GradingTask as T\n"
        "v = Verifier(workers=2, timeout_s=3.0)\n"
        "v.check()\n"
        f"v.submit(0, T({box(HANGS[0])!r}, ['x+1'], A.BOXED))\n"
        "print('hanging', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "hanging\n"
    orphans = workers_of(parent.pid)
    assert orphans
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_ended(orphans, 60)  # the hang goes on for minutes


@pytest.mark.parametrize("own_parent", [True, False])
def test_an_idle_worker_ends_with_its_parent_even_if_its_input_stays_open(own_parent):
    arguments = [str(PLENTY_S), str(PLENTY_S), "2048", str(os.getpid() if own_parent else -1)]
    worker = subprocess.Popen(
        [sys.executable, "-m", "r1zero.verify.workers.worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    if own_parent:
        worker.stdin.write(b'{"id": 7, "gold": "x+1", "answer": "1+x"}\n')
        worker.stdin.flush()
        reply = json.loads(worker.stdout.readline())
        assert reply == {"id": 7, "outcome": "right", "rule": "math_verify", "score": None}
        worker.stdin.close()
    assert worker.wait(timeout=PLENTY_S) == 0
    worker.stdin.close()
    worker.stdout.close()


ENDLESS = """
import subprocess, sys, time
from pathlib import Path

def reward(response, gold):
    child = subprocess.Popen(["sleep", "86400"])
    Path(response).write_text(str(child.pid))
    sum(range(10**15))  # in C, where no Python code of another thread runs
"""


@pytest.mark.parametrize("sibling", [False, True])
def test_a_reward_that_runs_for_a_day_ends_with_its_killed_parent_and_so_does_what_it_started(tmp_path, sibling):
    """SIGKILL, a limit of a day, and a forked child of the parent that holds everything open that forks hold."""
    (tmp_path / "mine.py").write_text(ENDLESS)
    code = (
        "import os, time; from r1zero.verify import Verifier\n"
        "from r1zero.types import AnswerFormat as A, GradingTask as T\n"
        "v = Verifier(workers=1, timeout_s=86400, reward='mine.py:reward')\n"
        "v.check()\n"
        "v.submit(0, T('busy', ['x'], A.BOXED))\n"
        f"if {sibling} and os.fork() == 0: time.sleep(86400)\n"
        "print('hanging', flush=True); time.sleep(86400)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "hanging\n"
    wait_for(lambda: ((tmp_path / "busy").exists() and (tmp_path / "busy").read_text()) or None, "a busy reward")
    started = below(parent.pid)
    orphans = [each for each in started if "-m r1zero" in each.words or each.words == "sleep 86400"]
    parent.kill()  # before anything is said of them: a test that fails leaves nothing to the next ones
    assert len(orphans) == 2
    parent.wait()
    wait_ended(orphans)
    for each in started:  # the sibling
        each.kill()
    parent.stdout.close()


OPENS = {
    "at its top, for its own use": (
        "from r1zero import AnswerFormat, Verifier\n"
        "verifier = Verifier(workers=2, timeout_s=600)\n"
        "def reward(response, gold):\n"
        "    [verdict] = verifier.verify([(response, gold, AnswerFormat.BOXED)])\n"
        "    return verdict.right\n"
    ),
    "in the function": (
        "from r1zero import AnswerFormat, Verifier\n"
        "def reward(response, gold):\n"
        "    with Verifier(timeout_s=600) as verifier:\n"
        "        verifier.check()\n"
        "        return verifier.verify([(response, gold, AnswerFormat.BOXED)])[0].right\n"
    ),
}


@pytest.mark.parametrize("source", OPENS.values(), ids=OPENS)
def test_a_reward_with_a_verifier_of_its_own_starts_no_workers(tmp_path, source):
    (tmp_path / "mine.py").write_text(source)
    with Verifier(workers=1, timeout_s=PLENTY_S, reward=f"{tmp_path}/mine.py:reward") as pool:
        pool.check()
        verdicts = pool.verify([(box(lim(1)), ["1+x"], BOXED), (box(lim(2)), ["1+x"], BOXED), (box("7"), ["7"], BOXED)])
        [worker] = below(os.getpid(), "mine.py")
        assert not below(worker.pid)
    assert [v.outcome for v in verdicts] == [Outcome.RIGHT, Outcome.WRONG, Outcome.RIGHT]


@pytest.mark.parametrize("reward", ["script.py:reward", "cmd: {python} script.py"])
def test_a_script_that_opens_a_verifier_of_itself_makes_no_chain(tmp_path, reward):
    """Every worker runs the script anew, which has no `if __name__ == "__main__"`."""
    reward = reward.format(python=sys.executable)
    script = (
        "from pathlib import Path\n"
        "from r1zero import AnswerFormat, Verifier\n"
        "with open('started', 'a') as file: file.write('x')\n"
        "def reward(response, gold): return True\n"
        f"verifier = Verifier(workers=2, timeout_s=600, reward={reward!r})\n"
        "[verdict] = verifier.verify([('7', ['7'], AnswerFormat.BOXED)])\n"
        "print(verdict.outcome, verdict.rule)\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PLENTY_S)
    assert done.stdout.startswith("ungraded"), done.stderr
    if "cmd" not in reward:
        assert "if __name__" in done.stdout
    assert len((tmp_path / "started").read_text()) <= 4  # the script, and what it tries of workers or commands


def test_from_another_thread():
    found = []

    def work() -> None:
        with Verifier(workers=1, timeout_s=PLENTY_S) as pool:
            found.extend(pool.verify([(box(lim(1)), ["1+x"], BOXED)]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [v.outcome for v in found] == [Outcome.RIGHT]


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="positive"):
        Verifier(timeout_s=0)
    pool = Verifier()
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(0, GradingTask(box("5"), ["5"], BOXED))


def many(count: int, start: int = 0) -> list:
    return [(box(lim(n)), [f"{n}+x"], BOXED) for n in range(start, start + count)]


def test_threads_share_a_pool(verifier):
    found: dict[int, list[bool]] = {}

    def work(k: int) -> None:
        items = [*many(3, 10 * k), *[(box(str(n)), [str(n + n % 2)], BOXED) for n in range(40)]]
        found[k] = [v.right for v in verifier.verify(items)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), [True] * 3 + [n % 2 == 0 for n in range(40)])


def test_asyncio(verifier):
    async def both() -> list:
        return await asyncio.gather(verifier.averify(many(2, 50)), verifier.averify([(box("5"), ["6"], BOXED)]))

    first, second = asyncio.run(both())
    assert [v.right for v in first] == [True, True]
    assert [v.right for v in second] == [False]


def in_child(pool: Verifier, pipe) -> None:
    pipe.send([v.outcome for v in pool.verify([*many(1, 70), (box("4"), ["5"], BOXED)])])
    pool.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_has_workers_of_its_own(method):
    with Verifier(workers=1, timeout_s=PLENTY_S) as pool:
        pool.check()
        mine = workers_of(os.getpid())
        context = multiprocessing.get_context(method)
        here, there = context.Pipe()
        child = context.Process(target=in_child, args=(pool, there))
        child.start()
        there.close()
        assert here.recv() == [Outcome.RIGHT, Outcome.WRONG]
        child.join(PLENTY_S)
        assert child.exitcode == 0
        assert pool.verify(many(1, 71))[0].right  # the child left our worker alone
        assert mine <= workers_of(os.getpid())


def test_the_same_pair_is_graded_once():
    with Verifier(workers=1, timeout_s=PLENTY_S) as pool:
        assert all(v.right for v in pool.verify(many(1, 60) * 1000))
        assert [worker.served for worker in pool._at] == [1]
    with Verifier(workers=1, timeout_s=1.0) as pool:
        pool.check()
        verdicts = pool.verify([(box(HANGS[0]), ["x+1"], BOXED)] * 100)
    assert {v.outcome for v in verdicts} == {Outcome.TIMEOUT}
    assert sum(v.seconds for v in verdicts) < 20  # graded each: 100 s and more


@pytest.mark.slow
@pytest.mark.parametrize("poison", [2, 16])
def test_poison_between_honest_answers(poison):
    hangs = [rf"\int_0^{{1}} \sin(x^{{x}}) \cos(\sin x) \log({k}+x^7) dx" for k in range(poison)]
    with Verifier(workers=2, timeout_s=0.5) as pool:
        pool.check()
        honest = [(box(f"{n}.0"), [str(n)], BOXED) for n in range(200)]
        items = [*honest[:100], *[(box(hang), ["x+1"], BOXED) for hang in hangs], *honest[100:], *many(2, 80)]
        begun = time.perf_counter()
        verdicts = pool.verify(items)
        elapsed = time.perf_counter() - begun
    assert all(v.right for v in (*verdicts[:100], *verdicts[100 + poison : -2]))
    assert sum(v.seconds for v in verdicts) < 2 * elapsed  # no time in the queue
    assert not any(v.right for v in verdicts[100 : 100 + poison])
    # The last two are for the same workers. The limit is short: that they are in time says more about the machine.
    assert {v.outcome for v in verdicts[-2:]} <= {Outcome.RIGHT, Outcome.TIMEOUT}


@pytest.mark.slow
def test_the_callers_memory_stays_flat_and_a_pool_leaves_nothing_behind():
    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def work(first: int, last: int) -> None:
        for n in range(first, last):
            pool.verify([(box(rf"\frac{{{n}}}{{7}}+\sqrt{{2}}"), [rf"{n}/7"], BOXED), (box(f"{n}"), [f"{n}"], BOXED)])

    before = workers_of(os.getpid())
    with Verifier(workers=2) as pool:
        work(0, 1500)
        settled = resident_mb()
        work(1500, 5000)
        assert resident_mb() - settled < 10
    assert workers_of(os.getpid()) == before
