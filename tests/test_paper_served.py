"""What does not run on the machine: models and judges behind real servers."""

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from processes import END_S, look, wait_for
from r1zero.analyze.judges.llm import JUDGE_KEY
from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION
from r1zero.analyze.judges.rules import NAME as RULES
from r1zero.analyze.responses import saved_cell
from r1zero.cli.paper import Serving
from r1zero.errors import UserError
from r1zero.evaluation.models import SERVER_KEY
from r1zero.paper.claims import Study
from r1zero.paper.jobs import EvaluationJob, ModelServer
from r1zero.paper.judgements import FILE, JudgementJob, JudgeServer, KeptJudge, judge_of
from r1zero.paper.planned import Orders, plan_jobs, plan_rows, total
from r1zero.paper.run import PLAN, run_paper
from r1zero.paper.schedule import Schedule, carry_out
from r1zero.paper.served import Servers, left_out, without
from r1zero.paper.studies import STUDIES, base_models
from r1zero.paper.studies.base_models import judgements, read_answering
from r1zero.paper.studies.reflection import read_reflection
from served import Server, serve

V3 = "deepseek-ai/DeepSeek-V3-Base"
KEY = "sekret-of-the-server"


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    found = serve(tmp_path / "server", **getattr(request, "param", {}))
    yield found
    found.kill()


def sums(name: str, file: Path, template: str = "no") -> EvaluationJob:
    """Four sums, asked of a model that is too large."""
    if not file.exists():
        rows = [{"question": f"What is {i} + {i + 1}?", "answer": str(2 * i + 1)} for i in range(4)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return EvaluationJob(f"evaluations/{name}", template, [{"name": str(file)}], model=V3, answer_format="last_number",
                         max_new_tokens=40, served=True)  # fmt: skip


def at(server: Server, judge: str = "judge") -> Servers:
    return Servers({V3: ModelServer(server.url, None, 2, 1.0)}, JudgeServer(server.url, judge, 2, 1.0))


# ---- one job


def test_judgements_are_kept_and_read_as_the_judges(server: Server, tmp_path: Path) -> None:
    jobs = at(server).attached(judgements([sums("a", tmp_path / "sums.jsonl")], ANSWERING))
    for job in jobs:
        job.carry_out(tmp_path)
    asked = len(server.answered)
    evaluation, judged = jobs
    assert isinstance(judged, JudgementJob)
    kept = judge_of(tmp_path, [evaluation.name], [judged], "answering")
    assert isinstance(kept, KeptJudge)
    assert kept.name == "LLM judge judge"
    cell = saved_cell(tmp_path / evaluation.name)
    labels = [each.label for each in kept.judge(base_models.items_of(cell))]
    # of this server's judge "recheck" is class 2, which is none of this rubric's, and any other response class 1
    assert labels == [None if "recheck" in reply.text else 1 for reply in cell.replies]
    assert kept.tokens == [100 * len(set(cell.replies)), 10 * len(set(cell.replies))]
    for job in jobs:  # elsewhere, by the same names: the same
        again = replace(job, **{"server" if job is evaluation else "judge": None})
        assert again.done(tmp_path)
    assert len(server.answered) == asked
    other = replace(judged, judge=JudgeServer(server.url, "another"))
    assert not other.done(tmp_path)  # another language model says something else
    assert judge_of(tmp_path, [evaluation.name, "evaluations/b"], [judged], "answering").name == RULES
    text = (tmp_path / judged.name / FILE).read_text()
    damaged = text.replace('"classes":{"', '"classes":{"0')
    (tmp_path / judged.name / FILE).write_text(damaged)
    with pytest.raises(UserError, match=r"of other responses than the evaluations' now; remove it, and judge again"):
        judge_of(tmp_path, [evaluation.name], [judged], "answering").judge(base_models.items_of(cell))
    (tmp_path / judged.name / FILE).write_text(text[: len(text) // 2])
    assert not judged.done(tmp_path)


def test_where_a_language_model_judges_a_response_reflects_by_both(server: Server, tmp_path: Path) -> None:
    sampled = replace(sums("a", tmp_path / "sums.jsonl"), samples=8, temperature=1.0)
    jobs = at(server).attached(judgements([sampled], REFLECTION))
    jobs[0].carry_out(tmp_path)
    by_rules = read_reflection(tmp_path, jobs)
    assert "by keyword (" in by_rules.claims[0].measured
    jobs[1].carry_out(tmp_path)
    found = read_reflection(tmp_path, jobs)
    # this server's judge goes by the word "recheck", so that both find the same responses
    share, kept = re.search(
        r"temperature 1: ([^]]+\]) by both on one response \((.*)\)$", found.claims[0].measured
    ).groups()  # type: ignore[union-attr]
    assert kept == f"{share} by keyword, {share} by the LLM judge judge"
    [table] = [each for each in found.tables if "beside the rules'" in each.title]
    assert table.rows[0][:2] == ["DeepSeek-V3-Base", "1"]
    assert table.rows[0][4:] == ["0", "0"]
    assert any("told by LLM judge judge" in note for note in found.notes)


def test_a_rehearsals_judgements_are_by_rules(server: Server, tmp_path: Path) -> None:
    evaluation = at(server).attached([sums("a", tmp_path / "sums.jsonl")])[0]
    evaluation.carry_out(tmp_path)
    job = JudgementJob("judgements/a", evaluation.name, "answering", by_rules=True)
    job.carry_out(tmp_path)
    assert judge_of(tmp_path, [evaluation.name], [job], "answering").name == RULES
    assert not any("/chat/" in each["path"] for each in server.answered)


# ---- what is left out


def test_what_nobody_serves_is_left_out_with_all_that_stands_on_it(tmp_path: Path) -> None:
    jobs = list(STUDIES["fig3-answering"].full(1))
    nobody = left_out(jobs, tmp_path)
    assert [each.model for each in nobody] == [V3, ""]
    assert str(nobody[0]) == (
        f"Left out: evaluations/DeepSeek-V3-Base-no-t0 and 5 more jobs, which ask {V3} through a server; add --server "
        f"{V3}=http://HOST:PORT/v1."
    )
    assert "and 14 more jobs, in which a language model judges; add --judge" in str(nobody[1])
    assert {job.name for job in without(jobs, nobody)} == {
        job.name for job in jobs if isinstance(job, EvaluationJob) and job.model != V3
    }
    servers = Servers({V3: ModelServer("http://localhost:1/v1")}, JudgeServer("http://localhost:1/v1", "x"))
    assert left_out(servers.attached(jobs), tmp_path) == []
    [model] = left_out(Servers({}, servers.judge).attached(jobs), tmp_path)
    assert (model.model, len(model.jobs)) == (V3, 6)  # a judge alone judges none of its responses


def test_the_paper_has_the_served_model_in_all_of_figure_3() -> None:
    for study, count in (("fig3-answering", 3), ("fig3-exploration", 10), ("fig3-reflection", 10)):
        asked = [job for job in STUDIES[study].full(1) if isinstance(job, EvaluationJob) and job.model == V3]
        assert len(asked) == count
        assert all(job.served for job in asked)
    judged = [job for job in STUDIES["fig3-reflection"].full(1) if isinstance(job, JudgementJob)]
    assert len(judged) == 60
    assert {job.rubric for job in judged} == {"reflection"}


def test_the_plan_lists_them_without_hours(tmp_path: Path) -> None:
    jobs = [job for job in STUDIES["fig3-answering"].full(1) if V3.rpartition("/")[2] in job.name]
    for servers, how in ((Servers(), f"needs a server (--server {V3}=…)"), (at_nowhere(), "asks --server")):
        found = plan_jobs(servers.attached(jobs), Orders("8xA100-80GB"), tmp_path)
        rows = [row for row in plan_rows(found) if row[0].startswith("evaluations/")]
        assert rows == [[job.name, how, "–", "–", "served", ""] for job in jobs[:3]]
    assert total(found, 8).startswith("6 of 6 jobs to do (6 of them by servers, whose hours are not counted), 0 GPU-")
    own = Servers({"Qwen/Qwen2.5-7B": ModelServer("http://localhost:1/v1")})
    [first, *_] = [job for job in STUDIES["fig3-answering"].full(1) if "Qwen2.5-7B" in job.name]
    [planned] = plan_jobs(own.attached([first]), Orders("8xA100-80GB"))
    assert (planned.how, planned.gpus) == ("asks --server", 0)


def at_nowhere() -> Servers:
    return Servers({V3: ModelServer("http://localhost:1/v1")})


def test_one_job_without_a_gpu_runs_beside_the_others(tmp_path: Path) -> None:
    needs = {"asks": 0, "asks too": 0, "two": 2, "one": 1}
    jobs = [Here(name) for name in needs]
    schedule = Schedule(jobs, lambda job: job.done(tmp_path), 2, needs)  # type: ignore[arg-type]

    def begun() -> Future[float] | None:
        if (found := schedule.next()) is None:
            return None
        schedule.running[future := Future()] = found
        return future

    asks, two = begun(), begun()
    assert [*schedule.running.values()] == [(Here("asks"), []), (Here("two"), [0, 1])]
    assert begun() is None
    schedule.end(ended(asks), lambda *_: None)
    too = begun()
    assert begun() is None
    schedule.end(ended(two), lambda *_: None)
    assert [*schedule.running.values()] == [(Here("asks too"), [])]
    one = begun()
    assert [*schedule.running.values()] == [(Here("asks too"), []), (Here("one"), [0])]
    for each in (too, one):
        schedule.end(ended(each), lambda *_: None)
    assert begun() is None
    assert not schedule.order.is_active()


def ended(future: Future[float] | None) -> Future[float]:
    assert future is not None
    future.set_result(1.0)
    return future


# ---- what is refused


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        (Serving(server=["http://h:1/v1"]), r"^--server http://h:1/v1 is not valid: write MODEL=http"),
        (Serving(server=["http://u:pw@h:1/v1"]), r"^--server \(an address with a name or a password\) is not valid"),
        (Serving(server=[f"{V3}="]), "is not valid: write MODEL=http"),
        (Serving(server=[f"{V3}=http://a/v1", f"{V3}=http://b/v1"]), f"names {V3} more than once; keep one of them"),
        (Serving(tokenizer=[f"{V3}=x"]), f"--tokenizer {V3}=… is of a model that no server holds; add --server"),
        (Serving(judge="http://h:1/v1"), "needs the model's name there; add --judge-model NAME"),
        (Serving(judge_model="x"), "--judge-model x needs its address; add --judge http"),
        (Serving(server_workers=0), "--server-workers 0 asks nothing; give 1 or more"),
        (Serving(patience=-1), "--patience -1 is not a valid time to wait"),
    ],
)
def test_words_that_are_refused(serving: Serving, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        serving.servers()
    assert "pw" not in str(caught.value)


def test_servers_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = STUDIES["fig3-answering"].full(1)

    def refused(said: str, *words: str, judge: str | None = None) -> None:
        servers = Serving(server=list(words), judge=judge, judge_model=judge and "x").servers()
        with pytest.raises(UserError, match=said):
            servers.check(jobs)

    refused(
        "no job of these studies asks that model; did you mean .*DeepSeek-V3-Base",
        "deepseek-ai/DeepSeek-V3=http://h/v1",
    )
    refused("--server ftp://h is not a valid address", f"{V3}=ftp://h")
    refused("--judge h is not a valid address", judge="h")
    two = (f"{V3}=http://a/v1", "Qwen/Qwen2.5-7B=http://b/v1")
    monkeypatch.delenv(SERVER_KEY, raising=False)
    Serving(server=list(two)).servers().check(jobs)
    monkeypatch.setenv(SERVER_KEY, KEY)
    refused(r"--server names 2 machines \(a, b\), and all of them would get the one key in R1ZERO_SERVER_KEY", *two)


# ---- all of it


@dataclass(frozen=True)
class Here:
    """A job that no server is needed for."""

    name: str
    start: str | None = None

    def done(self, out: Path) -> bool:
        return (out / self.name).exists()

    def carry_out(self, out: Path) -> None:
        (out / self.name).touch()


@dataclass(frozen=True)
class Dies(Here):
    """A job whose process is killed."""

    def carry_out(self, out: Path) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_job_whose_process_was_killed_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^A process at work on dies was killed, .* give the same command again"):
        carry_out([Dies("dies")], tmp_path, 1, lambda *_: None)  # type: ignore[list-item]


@dataclass(frozen=True)
class Fails(Here):
    """A job that cannot be done, as the user is told once another is under way."""

    def carry_out(self, out: Path) -> None:
        wait_for(lambda: (out / "under way").exists() or None, "the other job", END_S)
        raise UserError("It is so.")


@dataclass(frozen=True)
class Stays(Here):
    """A job that ends when it is ended."""

    def carry_out(self, out: Path) -> None:
        (out / "pid").write_text(str(os.getpid()))
        (out / "pid").rename(out / "under way")
        threading.Event().wait()


@pytest.mark.slow
def test_a_failed_job_is_one_sentence_and_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    jobs = [Fails("fails"), Stays("stays")]
    with pytest.raises(UserError, match=r"^It is so\.$"):
        carry_out(jobs, tmp_path, 2, lambda *_: None)  # type: ignore[arg-type]
    assert look(int((tmp_path / "under way").read_text())) is None
    assert not said


@pytest.mark.slow
def test_a_job_that_ends_before_its_process_is_known_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool starts a process, and only then notes it: here it is slow to, and the job would be done meanwhile."""
    said: list[object] = []
    start = ForkServerProcess.start

    def slow(process: ForkServerProcess) -> None:
        start(process)
        end = time.monotonic() + 5  # enough for the job, were it not held
        while threading.current_thread() is threading.main_thread() and time.monotonic() < end and not made():
            time.sleep(0.01)

    def made() -> list[Path]:
        return list(tmp_path.iterdir())

    monkeypatch.setattr(threading, "excepthook", said.append)
    monkeypatch.setattr(ForkServerProcess, "start", slow)
    carry_out([Here("job")], tmp_path, 1, lambda *_: None)  # type: ignore[list-item]
    assert (tmp_path / "job").exists()
    assert not said


@pytest.mark.slow
def test_a_study_whose_server_is_not_there_goes_away_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out, server = tmp_path / "sums.jsonl", tmp_path / "full", serve(tmp_path, answers=2, key=KEY)
    asked = [sums("DeepSeek-V3-Base-no", file), sums("DeepSeek-V3-Base-r1", file, "r1")]
    tiny = Study("tiny", "", "", "", lambda *_: [], lambda _: judgements(asked, ANSWERING), read_answering)
    monkeypatch.setitem(STUDIES, "tiny", tiny)
    monkeypatch.setenv(SERVER_KEY, KEY)
    monkeypatch.setenv(JUDGE_KEY, KEY)

    def run(servers: Servers) -> tuple[str, list[str]]:
        said: list[str] = []
        orders = Orders(servers=servers)
        page = run_paper([tiny], out, "full", seeds=None, workers=1, told=ignored, noted=said.append, orders=orders)
        return " ".join(page.read_text(encoding="utf-8").split()), said

    def ignored(*_: object) -> None: ...

    page, said = run(Servers())  # nobody is asked, and that is said, not a failure
    assert [each.partition(",")[0] for each in said] == ["Left out: evaluations/DeepSeek-V3-Base-no and 3 more jobs"]
    assert said[0] in page
    begun: list[str] = []
    killer = threading.Thread(target=lambda: (wait_for(lambda: server.held or None, "it is held", 600), server.kill()))
    killer.start()
    jobs = [*at(server).attached(asked), Here("here")]
    with pytest.raises(UserError, match=r"does not answer .* nothing that it has answered is asked twice"):
        carry_out(jobs, out, 1, lambda job, _: begun.append(job.name))
    killer.join()
    assert begun == [asked[0].name, "here", "here"]  # not the other one of the same server
    server.restart(key=KEY)
    for job in at(server).attached(judgements(asked, ANSWERING)):
        job.carry_out(out)
    page, said = run(at(server))
    assert not said
    assert "told by LLM judge judge" in page
    assert "Left out" not in page
    answered = [
        json.dumps(each["body"], sort_keys=True) for each in server.answered if each["path"] == "/v1/completions"
    ]
    assert Counter(answered).most_common(1)[0][1] == 1
    server.kill()
    assert run(Servers())[0] == page  # all is there
    elsewhere = replace(at(server), models={V3: ModelServer("http://localhost:1/v1?key=hidden")})
    assert run(elsewhere)[0] == page
    plan = (out / PLAN).read_text()
    assert json.loads(plan)["servers"] == {V3: [server.url, "http://localhost:1/v1"], "LLM judge judge": [server.url]}
    kept = [path for path in out.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in kept)
    assert not any(KEY.encode() in path.read_bytes() for path in kept)
