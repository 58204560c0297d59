"""Rehearsals: stand-ins that are like what they stand for, the paper's recipes to their last step, and all its jobs."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from processes import END_S, below, wait_ended, wait_for
from r1zero.config import Recipe, load_recipe
from r1zero.config.pretrain import CorpusSettings, PretrainRecipe
from r1zero.errors import UserError
from r1zero.paper.claims import Claim, ClaimStatus, Findings
from r1zero.paper.jobs import EvaluationJob, Job, ModelServer, asked_of
from r1zero.paper.judgements import JudgeServer
from r1zero.paper.rehearse import _unrehearsed, read_notes, rehearsed_jobs, unjudged
from r1zero.paper.run import grids
from r1zero.paper.served import Servers, left_out
from r1zero.paper.studies import STUDIES
from r1zero.policy.known import known_models
from r1zero.policy.load import load_policy
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.questions import CATALOGUE, DATA_VARIABLE, load_questions
from r1zero.rehearsal.disk import disk_note, kept_bytes
from r1zero.rehearsal.sets import ROWS, corpus_file, cut_corpus, cut_sets, known_corpus
from r1zero.rehearsal.stage import Stage, rehearsal_of
from r1zero.rehearsal.stand_in import make_stand_in, stands_for_itself
from r1zero.rollouts.question_sets import load_sets
from r1zero.runs.run import Run
from test_paper_claims import SMALL
from test_questions_real import DATA
from tiny_runs import Command, Hold, start, tiny_recipe

DEEPSEEK = "deepseek-ai/DeepSeek-V3-Base"
RECIPES = Path(__file__).resolve().parents[1] / "recipes"
TEXT = "Let $x_1 = 12$ be  so.\n\nThen\tx + 3 = 15, é too."


def rehearse(*words: str | Path, hold: Hold | None = None) -> Command:
    """With real rows where they are."""
    return start(*words, hold=hold, environment={DATA_VARIABLE: str(DATA)} if DATA.is_dir() else None)


# ---- stand-ins


@pytest.mark.parametrize("name", known_models())
def test_a_stand_in_is_like_the_model(name: str, tmp_path: Path) -> None:
    known = known_models()[name]
    make_stand_in(name, None, [TEXT] * 9, tmp_path / "model")
    policy = load_policy(str(tmp_path / "model"), device="cpu")
    facts, tokenizer = known.tokenizer, policy.tokenizer
    assert [type(policy.model).__name__] == known.config["architectures"]
    assert policy.positions == known.config["max_position_embeddings"]
    assert policy.model.config.tie_word_embeddings == known.config["tie_word_embeddings"]
    assert policy.size < 200_000
    tokens = {i: token for token, i in facts["tokens"].items()}
    assert tokenizer.convert_ids_to_tokens(list(policy.eos_ids)) == [tokens[i] for i in sorted(known.generation_eos)]
    assert tokenizer.eos_token == facts["eos"]
    ids = policy.encode(TEXT)
    opening = [facts["bos"]] if facts["opens_with_bos"] else []
    assert tokenizer.convert_ids_to_tokens(list(ids[: len(opening)])) == opening
    assert tokenizer.decode(list(ids[len(opening) :])) == TEXT
    assert bool(tokenizer.chat_template) == bool(facts["chat_template"])
    for mark in facts["tokens"]:  # a mark is one token, as in the real vocabulary
        assert len(tokenizer.encode(mark, add_special_tokens=False)) == 1
    padded = known.config["vocab_size"] - max(facts["tokens"].values()) > len(facts["tokens"])
    assert (policy.model.config.vocab_size > len(tokenizer)) == padded


def test_a_stand_in_is_the_same_every_time(tmp_path: Path) -> None:
    for place in ("one", "two"):
        make_stand_in("Qwen/Qwen2.5-Math-1.5B", None, [TEXT] * 9, tmp_path / place)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_another_models_stand_in_has_its_class_and_its_own_tokenizer(tmp_path: Path) -> None:
    tokenizer = character_tokenizer()
    folder = tmp_path / "real"
    tiny_model(tokenizer, width=64).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = load_policy(str(folder), device="cpu")
    assert stands_for_itself(str(folder))  # small enough to be rehearsed with as it is
    make_stand_in(str(folder), None, [], tmp_path / "small")
    small = load_policy(str(tmp_path / "small"), device="cpu")
    assert type(small.model) is type(model.model)
    assert small.size < model.size
    assert small.positions == model.positions
    assert small.encode("1 + 2 =") == tuple(tokenizer.encode("1 + 2 ="))
    with pytest.raises(UserError, match=r"model\.path.*'owner/none' has no config and tokenizer"):
        make_stand_in("owner/none", None, [], tmp_path / "none")
    assert not (tmp_path / "none").exists()


# ---- rows


@pytest.mark.parametrize("name", CATALOGUE)
def test_made_up_rows_have_the_sets_columns_and_its_longest_question(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("R1ZERO_DATA", raising=False)
    whole = CATALOGUE[name].part_of or name
    assert cut_sets({name: None, "no catalogue name": None}, tmp_path) == [whole]
    found = load_questions(name, data_dir=tmp_path)
    assert len(found) == ROWS
    assert not found.dropped
    real = DATA / f"{CATALOGUE[whole].files[0]}.jsonl"
    longest = max(len(each.text) for each in found)
    if real.exists():
        assert longest == pytest.approx(max(len(each.text) for each in load_questions(whole, data_dir=DATA)), abs=70)


def test_real_rows_are_taken_where_they_are_the_longest_among_them(tmp_path: Path) -> None:
    rows = [{"problem": "?" * length, "answer": ["1"]} for length in (3, 1, 2, 4, 9, 5)]
    (tmp_path / "olympiad_bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cut_sets({"olympiad": tmp_path}, tmp_path / "cut") == []
    assert [len(each.text) for each in load_questions("olympiad", data_dir=tmp_path / "cut")] == [3, 1, 2, 9]


def test_a_corpus_is_made_up_with_its_columns_or_refused(tmp_path: Path) -> None:
    known = CorpusSettings(name="AI-MO/NuminaMath-1.5", question_column="problem", answer_column="solution")
    cut_corpus(known, tmp_path)
    row = json.loads(Path(corpus_file(known, tmp_path)).read_text().splitlines()[0])
    assert {"problem", "solution", "answer"} <= set(row)
    for wrong in ({"name": "AI-MO/NuminaMath"}, {"config": "finemath"}, {"split": "test"}):
        with pytest.raises(
            UserError, match=r"neither a file nor a corpus whose columns are known .*--corpus\.name FILE"
        ):
            cut_corpus(known.model_copy(update=wrong), tmp_path)


# ---- recipes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2.5-math-7b", "qwen2.5-math-1.5b"])
def test_the_papers_own_recipe_runs_to_its_last_step(name: str, tmp_path: Path) -> None:
    words = ("train", RECIPES / f"{name}.toml", "--rehearse", "--out", tmp_path / "out")
    said = rehearse(*words).done(END_S)
    run = Run.open(tmp_path / "out" / "run")
    steps = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [1, 2]
    assert max(row["learn/grad_norm"] for row in steps) > 0  # a backward pass with checkpointing was made
    assert run.recipe.objective.constant == 3000
    assert sorted(path.name for path in (run.path / "evaluations").iterdir()) == ["step-000000", "step-000002"]
    assert (run.path / "evaluations/step-000002/olympiad.parquet").exists()
    told = " ".join(said.split())
    assert "olympiad: 1 prompt of which less than the budget of 3000 tokens is left of the model's 4096" in told
    assert "numbers mean nothing" in told
    assert "rehearsed to the last step" in " ".join(
        rehearse("train", RECIPES / f"{name}.toml", "--rehearse", "--out", tmp_path / "out", "--resume")
        .done(END_S)
        .split()
    )


def test_what_a_recipe_names_wrongly_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    recipe = load_recipe(RECIPES / "qwen2.5-math-1.5b.toml")
    for changes, said in (
        ({"model.path": "Qwen/Qwen2.5-Maths-1.5B"}, "has no config and tokenizer"),
        ({"questions.name": "gsm8k-train"}, "gsm8k-train"),
        ({"template.name": "qwen_maths"}, "qwen_maths"),
    ):
        wrong = load_recipe(RECIPES / "qwen2.5-math-1.5b.toml", changes)
        with pytest.raises(UserError, match=said):
            rehearsal_of(wrong, tmp_path / "out", resume=False)
    crowded = {"template.name": str(tmp_path / "long.jinja")}
    (tmp_path / "long.jinja").write_text("0 1 2 3 4 5 6 7 8 9 " * 1000 + "{{ question }}")
    with pytest.raises(UserError, match="fits into the model's 4096 positions"):
        rehearsal_of(load_recipe(RECIPES / "qwen2.5-math-1.5b.toml", crowded), tmp_path / "out", resume=False)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="holds something else than a rehearsal"):
        rehearsal_of(recipe, tmp_path / "taken", resume=False)
    assert (tmp_path / "taken" / "run.json").exists()


def test_sets_of_a_data_folder_and_of_a_sources_own_are_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"question": "1+1=", "answer": "2", "level": 3}
    for place in ("data/sums.jsonl", "data/test.jsonl", "own/more.jsonl", "own/aime24.jsonl"):
        Path(place).parent.mkdir(exist_ok=True)
        Path(place).write_text(json.dumps(row) + "\n")
    Path("own/aime24.jsonl").write_text(json.dumps(row | {"question": "1+2="}) + "\n")
    Path("aime25.jsonl").write_text(json.dumps(row) + "\n")
    sources = [
        {"name": "sums.jsonl", "where": "level > 2"},
        {"name": "more.jsonl", "data_dir": "own"},
        {"name": "aime24", "data_dir": "own"},
        {"name": "./aime25.jsonl", "weight": 2.0},
    ]
    benchmarks = [{"name": "test.jsonl"}]
    asked = {"data_dir": "data", "sources": sources}
    recipe = tiny_recipe({"questions": asked, "evaluation.benchmarks": benchmarks})
    found, notes = rehearsal_of(recipe, tmp_path / "out", resume=False)
    assert found.questions.sources
    assert [each.name for each in found.questions.sources] == [
        "data/sums.jsonl", "own/more.jsonl", "aime24", "./aime25.jsonl",
    ]  # fmt: skip
    assert [each.weight for each in found.questions.sources] == [1.0, 1.0, 1.0, 2.0]
    assert not any("made up" in note for note in notes)  # the real aime24 is in the source's own folder
    trained, [evaluated] = load_sets(found)
    assert [question.text for question in trained] == ["1+1=", "1+1=", "1+2=", "1+1="]
    assert [question.text for question in evaluated] == ["1+1="]
    one = tiny_recipe({"questions": {"name": "sums.jsonl", "data_dir": "data"}, "evaluation.benchmarks": []})
    assert rehearsal_of(one, tmp_path / "one", resume=False)[0].questions.name == "data/sums.jsonl"


def test_engines_and_clusters_are_said_to_be_left_out(tmp_path: Path) -> None:
    changes: dict[str, object] = {"sampling.engine": "vllm", "sampling.memory": 0.4, "cluster": {"learners": 4}}
    changes |= {"rollout.max_staleness": 1, "objective.importance_cap": 2.0}
    recipe = load_recipe(RECIPES / "qwen2.5-math-1.5b.toml", changes)
    found, notes = rehearsal_of(recipe, tmp_path / "out", resume=False)
    assert found.cluster is None
    assert (found.sampling.engine, found.rollout.max_staleness) == ("torch", 0)
    assert found.objective.importance_cap == 2.0
    assert any("not rehearsed: vLLM and the cluster" in note for note in notes)


def test_a_disk_that_is_too_small_is_told(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "qwen2.5-math-7b.toml")
    # 7,615,616,512 parameters, 12 bytes each; two last ones, the best, and the one that is written
    assert kept_bytes(recipe) == 4 * 12 * 7_615_616_512
    said = disk_note({str(i): recipe for i in range(10**6)}, tmp_path / "not" / "there")
    assert re.match(
        r"checkpoints will take up to 340,4\d\d,\d\d\d GiB, 0's 340 GiB among them, and [\d,]+ GiB are", said
    )
    small = load_recipe(RECIPES / "qwen2.5-math-1.5b.toml", {"lora": {"rank": 8}})
    assert disk_note({"lora": small}, tmp_path) == ""


# ---- the paper's jobs


def published(out: Path) -> list[Job]:
    return [job for jobs in grids(list(STUDIES.values()), out, "full", 1).values() for job in jobs]


def test_every_job_is_rehearsed_with_its_own_names(tmp_path: Path) -> None:
    real, stage = published(tmp_path), Stage(tmp_path)
    rehearsed = rehearsed_jobs(real, tmp_path)
    assert [(job.name, job.start) for job in rehearsed] == [(job.name, job.start) for job in real]
    before, after = asked_of(real), asked_of(rehearsed)
    for name, old in before.items():
        new = after[name]
        assert old.model.path in known_models(), name
        assert new.model.path == stage.model(old.model.path)
        if isinstance(old, PretrainRecipe):
            assert known_corpus(old.corpus.name, old.corpus.config)
            assert new.learner.sequence_length == old.learner.sequence_length
            continue
        assert isinstance(old, Recipe)
        same = ("template", "critic", "lora")
        assert all(getattr(new, section) == getattr(old, section) for section in same), name
        assert new.objective.model_copy(
            update={"truncation": old.objective.truncation, "truncation_penalty": None}
        ) == (old.objective)
        assert [each.name for each in new.evaluation.benchmarks] == [each.name for each in old.evaluation.benchmarks]
        assert new.questions.name == old.questions.name


def test_a_rehearsals_claims_are_not_judged() -> None:
    claim = Claim("a", "b", ClaimStatus.SEEN)
    found = unjudged(Findings([claim, claim], notes=["a note"]))
    assert not found.claims
    assert found.notes == ["2 claims were read from the stand-ins' runs, and are not judged.", "a note"]


@pytest.mark.slow
def test_a_study_is_rehearsed_killed_and_gone_on_with(tmp_path: Path) -> None:
    """One; benchmarks/rehearsal.py, in CI, has all of them."""
    words = ("paper", "run", "reflection-accuracy", "--scale", "full", "--rehearse", "--out", tmp_path)
    out = tmp_path / "rehearsal"
    killed = rehearse(*words, hold=Hold("r1zero.paper.schedule:wait"))
    killed.held()
    wait_for(lambda: list(out.glob("evaluations/*/evaluation.json")) or None, "the first evaluation", END_S)
    workers = below(killed.pid)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    wait_ended(workers)
    assert not (out / "paper.html").exists()
    said = rehearse(*words).done(END_S)
    jobs = rehearsed_jobs(STUDIES["reflection-accuracy"].full(1), out)
    assert all(job.done(out) for job in jobs)
    finished = re.findall(r"^finished\s+(\S+)", said, re.MULTILINE)
    assert len(finished) == len(set(finished)) >= len(jobs) - 2  # of the first two, what was done
    [found] = json.loads((out / "findings.json").read_text())
    assert (found["study"], found["problems"], found["claims"]) == ("reflection-accuracy", [], [])
    assert not re.search(SMALL, json.dumps([found["tables"], found["notes"]], ensure_ascii=False))
    page = (out / "paper.html").read_text(encoding="utf-8")
    assert "<h1>Rehearsal: understanding R1-Zero-like training" in page
    for verdict in ClaimStatus:
        assert f">{verdict.value}</span>" not in page
    assert read_notes(out)
    assert all(note in page or "'" in note for note in read_notes(out))


def test_what_a_rehearsal_does_not_try_of_servers_is_said(tmp_path: Path) -> None:
    jobs = list(STUDIES["fig3-answering"].full(1))
    said = " ".join(_unrehearsed(jobs))
    assert "not rehearsed: the server of deepseek-ai/DeepSeek-V3-Base, for which a stand-in answers" in said
    assert "the language model that judges in judgements/answering-Qwen2.5-Math-1.5B-no-t0 and 17 more jobs" in said
    servers = Servers({DEEPSEEK: ModelServer("http://localhost:1/v1")}, JudgeServer("http://localhost:1/v1", "x"))
    asked = servers.attached(jobs)
    assert _unrehearsed(asked) == []
    models = {job.model for job in rehearsed_jobs(asked, tmp_path) if isinstance(job, EvaluationJob) and job.server}
    assert models == {DEEPSEEK}  # by its name there, and the rest by stand-ins
    alone = [job for job in rehearsed_jobs(jobs, tmp_path) if isinstance(job, EvaluationJob)]
    assert all(Path(job.model).is_relative_to(tmp_path) and not job.served for job in alone)
    assert left_out(rehearsed_jobs(jobs, tmp_path), tmp_path) == []


def test_a_rehearsal_is_of_the_published_settings(tmp_path: Path) -> None:
    words = ("paper", "run", "fig5", "--rehearse", "--out", tmp_path)
    rehearse(*words).refused("--rehearse is of the published settings; add --scale full.")
