"""The demo: a base model made from nothing, a run for each objective, and a picture; in miniature, and once in full."""

import io
import random
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1zero.demo import answer, corpus, run_demo, worked_steps
from r1zero.errors import UserError
from r1zero.questions.arithmetic import Problem
from r1zero.runs.run import Run
from r1zero.types import AnswerFormat
from r1zero.verify import Verifier
from regime import SEED
from tiny_runs import sums_of, untimed

PNG = b"\x89PNG\r\n\x1a\n"
SMALL: dict[str, object] = {
    "train.steps": 3,
    "train.threads": 1,
    "rollout.prompts": 2,
    "rollout.samples": 4,
    "sampling.max_new_tokens": 24,
    "evaluation.every": 2,
    "evaluation.benchmarks": [
        {"name": "arithmetic", "split": "test", "limit": 4, "options": {"level": 3, "style": "bare"}}
    ],
    "checkpoint.every": 2,
    "verifier.timeout_s": 60,
}
BOTH = ("dr_grpo", "grpo")


def miniature(out: Path) -> tuple[Path, str]:
    """The demo with little of everything; the page, and what was printed."""
    console = Console(file=io.StringIO(), width=200)
    page = run_demo(out, BOTH, 0, console, pretrain_steps=12, changes=SMALL)
    assert isinstance(console.file, io.StringIO)
    return page, console.file.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    miniature(out)
    return out


def test_the_base_model_is_an_ordinary_folder(demo: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo / "base")
    model = AutoModelForCausalLM.from_pretrained(demo / "base")
    ids = tokenizer("37+48=", return_tensors="pt").input_ids
    assert ids.shape == (1, 6)
    assert model(ids).logits.shape == (1, 6, len(tokenizer))
    assert tokenizer.decode(ids[0]) == "37+48="
    assert not (demo / ".base.tmp").exists()


def test_each_objective_has_its_run_from_the_same_base(demo: Path) -> None:
    runs = [Run.open(demo / name) for name in BOTH]
    assert [run.facts["objective"] for run in runs] == list(BOTH)
    assert [[row["step"] for row in run.read("metrics")] for run in runs] == [[1, 2, 3], [1, 2, 3]]
    first = [[row["response_ids"] for row in run.rollouts(1)] for run in runs]
    assert first[0] == first[1]
    assert runs[0].read("evaluations")[0] == runs[1].read("evaluations")[0]


def test_the_picture_is_a_real_png(demo: Path) -> None:
    content = (demo / "curves.png").read_bytes()
    assert content.startswith(PNG)
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > 1000
    assert height > 300
    assert content.endswith(b"IEND\xaeB`\x82")


def test_a_finished_demo_is_kept(demo: Path) -> None:
    before = sums_of(demo)
    lines = (demo / "grpo" / "metrics.jsonl").read_bytes()
    page, said = miniature(demo)
    assert sums_of(demo) == before
    assert (demo / "grpo" / "metrics.jsonl").read_bytes() == lines
    assert "base model:" not in said
    assert f"report: {page}\n" in said
    assert page == demo / "report.html"
    assert all(f"<b>{name}</b>" in page.read_text(encoding="utf-8") for name in BOTH)


def test_an_interrupted_demo_continues(demo: Path, tmp_path: Path) -> None:
    """Killed before the base model is there, with the first objective under way, and it ends as if it had not been."""
    out = tmp_path / "out"
    (out / ".base.tmp").mkdir(parents=True)
    (out / ".base.tmp" / "torn").write_text("{")
    console = Console(file=io.StringIO())
    run_demo(out, ("dr_grpo",), 0, console, pretrain_steps=12, changes=SMALL | {"train.steps": 2})
    assert not (out / "grpo").exists()
    assert not (out / "base" / "torn").exists()
    miniature(out)
    for name in BOTH:
        assert untimed(Run.open(out / name).read("metrics")) == untimed(Run.open(demo / name).read("metrics"))
        final = "checkpoints/step-000003/model.safetensors"
        assert (out / name / final).read_bytes() == (demo / name / final).read_bytes()


@pytest.mark.parametrize("found", ["base", "dr_grpo"])
def test_another_seed_does_not_go_on_with_what_is_there(demo: Path, tmp_path: Path, found: str) -> None:
    shutil.copytree(demo / found, tmp_path / found)
    before = sums_of(tmp_path)
    with pytest.raises(UserError) as caught:
        run_demo(tmp_path, BOTH, 1, Console(file=io.StringIO()), pretrain_steps=12, changes=SMALL)
    assert str(caught.value) == (
        f"--seed 1 is not the seed 0 that the demo in {tmp_path} was begun with; give --seed 0 to continue it, or "
        "choose another --out."
    )
    assert sums_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [found]


def test_paths_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=400)
    changes = SMALL | {"train.steps": 1, "evaluation.benchmarks": []}
    run_demo(tmp_path / "[red]", ("grpo",), 0, console, pretrain_steps=2, changes=changes)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].endswith(f"in {tmp_path}/[red]/base")
    assert lines[1].startswith(f"{tmp_path}/[red]/grpo: ")
    assert lines[-2] == f"learning curves: {tmp_path}/[red]/curves.png"
    assert lines[-1] == f"report: {tmp_path}/[red]/report.html"


# ---- what the base model reads


def sums() -> list[Problem]:
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    chosen = random.Random(0).sample(pairs, 300)
    return [Problem(3, pair, ("+",)) for pair in chosen] + [
        Problem(3, (max(pair), min(pair)), ("-",)) for pair in chosen
    ]


def test_worked_steps_by_hand() -> None:
    assert worked_steps(37, "+", 48) == "7+8=15 3+4+1=8"
    assert worked_steps(37, "-", 18) == "17-8=9 3-1-1=1"
    assert worked_steps(50, "+", 49) == "0+9=9 5+4+0=9"
    assert worked_steps(95, "-", 20) == "5-0=5 9-2-0=7"


def test_every_step_of_a_worked_answer_is_true_and_the_answer_is_right() -> None:
    problems = sums()
    texts = [answer(problem, "worked", random.Random(0)) for problem in problems]
    for text in texts:
        for step in text.split("\\boxed")[0].split():
            left, _, right = step.partition("=")
            assert eval(left) == int(right), step  # digits and signs, made above
    with Verifier(workers=1, timeout_s=60) as verifier:
        items = [(text, (str(p.answer),), AnswerFormat.BOXED) for text, p in zip(texts, problems, strict=True)]
        assert all(verdict.right for verdict in verifier.verify(items))


def test_guesses_are_seldom_right_and_rambling_never_answers() -> None:
    rng = random.Random(0)
    problems = sums()
    guesses = [answer(problem, "guess", rng) == f" \\boxed{{{problem.answer}}}" for problem in problems]
    assert 0 <= sum(guesses) < 0.05 * len(guesses)
    assert not any("boxed" in answer(problem, "ramble", rng) for problem in problems)


def test_the_corpus_teaches_first_and_mixes_later() -> None:
    documents = corpus(seed=0, documents=1000)
    read = [next(documents)[1] for _ in range(1000)]
    worked = [" \\boxed" not in text[:8] and "boxed" in text for text in read]
    assert all(worked[:800])
    assert 0.2 < sum(worked[800:]) / 200 < 0.5  # 2 of 6
    again = corpus(seed=0, documents=1000)
    assert [next(again)[1] for _ in range(1000)] == read


# ---- the whole of it


@pytest.mark.slow
def test_the_demo_learns(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    out = tmp_path / "demo"
    run_demo(out, ("dr_grpo",), SEED, Console(file=io.StringIO()))
    torch.set_num_threads(threads)
    rewards = [row["rollout/reward"] for row in Run.open(out / "dr_grpo").read("metrics")]
    assert len(rewards) == 100
    assert sum(rewards[:3]) / 3 < 0.4
    assert sum(rewards[-10:]) / 10 > 0.7
    scores = [row["eval/average"] for row in Run.open(out / "dr_grpo").read("evaluations")]
    assert scores[-1] > 0.7  # greedy, on sums that training never saw
    assert (out / "curves.png").read_bytes().startswith(PNG)
