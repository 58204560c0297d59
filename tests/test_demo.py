"""The demo: the base model that comes with the package, a run for each objective, a picture, a page, a sentence."""

import io
import json
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoTokenizer

from processes import wait_for
from r1zero.errors import UserError
from r1zero.paper import base_model
from r1zero.paper import demo as shown
from r1zero.paper.demo import run_demo, seen
from r1zero.policy.load import load_policy
from r1zero.report.data.run_data import RunData
from r1zero.report.data.seed_groups import SeedGroup
from r1zero.runs.run import Run
from tiny_runs import start, sums_of, untimed

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = Path(base_model.__file__).parent / "base"
PNG = b"\x89PNG\r\n\x1a\n"
SMALL: dict[str, object] = {
    "train.steps": 3,
    "train.threads": 1,
    "rollout.prompts": 2,
    "rollout.samples": 4,
    "sampling.max_new_tokens": 24,
    "evaluation.benchmarks": [],
    "checkpoint.every": 2,
    "verifier.timeout_s": 60,
}
BOTH = ("dr_grpo", "grpo")


def miniature(out: Path, seed: int = 0, objectives: tuple[str, ...] = BOTH, **more: object) -> tuple[Path, str]:
    """The demo with little of everything, in this process; the page, and what was printed."""
    file = io.StringIO()
    changes = SMALL | {name.replace("__", "."): value for name, value in more.items() if "__" in name}
    options = {name: value for name, value in more.items() if "__" not in name}
    threads = torch.get_num_threads()
    page = run_demo(out, objectives, seed, Console(file=file, width=400), workers=1, changes=changes, **options)  # type: ignore[arg-type]
    torch.set_num_threads(threads)
    return page, file.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    miniature(out, evaluation__benchmarks=[{"name": str(out / "world/test.questions.jsonl"), "limit": 4}])
    return out


# ---- the base model that comes with the package


def test_the_shipped_base_is_the_recorded_one_and_packaged() -> None:
    assert base_model.sha256(SHIPPED) == base_model.SHIPPED.sha256
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["r1zero"]
    root = ROOT / "src" / "r1zero"
    inside = {path for pattern in packaged for path in root.glob(pattern)}
    files = set(SHIPPED.iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json", "complete.json"} <= {path.name for path in files}
    assert files <= inside
    assert sum(path.stat().st_size for path in files) < 1e6


def test_the_shipped_base_loads_as_any_checkpoint_does_and_knows_how_answers_look() -> None:
    policy = load_policy(str(SHIPPED), device="cpu")
    assert policy.size == 247_616
    assert policy.exact  # in float32, of weights kept in bfloat16
    asked = "Pick two of 7, 12, 5 to make 17."
    likely = policy.model(torch.tensor([policy.encode(asked)])).logits[0, -1].argmax()
    assert policy.tokenizer.decode(likely) in {f" {n}" for n in (7, 12, 5)}


def test_a_damaged_base_is_told_and_nothing_is_begun_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    shutil.copytree(SHIPPED, package / "base")
    monkeypatch.setattr(base_model.resources, "files", lambda _: package)
    weights = package / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + bytes([weights.read_bytes()[-1] ^ 1]))
    with pytest.raises(UserError, match=r"model.safetensors is not what complete.json says"):
        base_model.copy_shipped(tmp_path / "out" / "base")
    base_model.seal(package / "base", 2000, None)  # sealed anew, it is still another model
    with pytest.raises(UserError, match=r"is not the one that r1zero came with .* or make one with --from-scratch"):
        base_model.copy_shipped(tmp_path / "out" / "base")
    assert not (tmp_path / "out" / "base").exists()


# ---- runs, picture, page


def test_each_objective_has_its_run_from_the_same_base(demo: Path) -> None:
    assert base_model.sha256(demo / "base") == base_model.SHIPPED.sha256
    assert not (demo / ".base.tmp").exists()
    runs = [Run.open(demo / name) for name in BOTH]
    assert [run.facts["objective"] for run in runs] == list(BOTH)
    assert [[row["step"] for row in run.read("metrics")] for run in runs] == [[1, 2, 3], [1, 2, 3]]
    first = [[row["response_ids"] for row in run.responses(1)] for run in runs]
    assert first[0] == first[1]
    assert runs[0].read("evaluations")[0] == runs[1].read("evaluations")[0]


def test_the_picture_is_a_real_png_with_the_papers_curves_beside_ours(demo: Path) -> None:
    content = (demo / "curves.png").read_bytes()
    assert content.startswith(PNG)
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > 1000
    assert height > 300
    assert content.endswith(b"IEND\xaeB`\x82")
    groups = {name: SeedGroup(name, (shown.load_run(demo / name),)) for name in BOTH}
    titles = ["Length of wrong answers", "The paper: length of wrong answers"]
    assert [chart.title for chart in shown.picture(groups)] == [
        *titles, "Training reward", "The paper: training reward",
    ]  # fmt: skip
    assert [len(chart.series) for chart in shown.picture(groups)] == [2, 2, 2, 2]
    assert [chart.title for chart in shown.picture({"grpo": groups["grpo"]})] == [titles[0], "Training reward"]


def test_a_finished_demo_is_kept(demo: Path) -> None:
    before = sums_of(demo)
    lines = (demo / "grpo" / "metrics.jsonl").read_bytes()
    page, said = miniature(
        demo, evaluation__benchmarks=[{"name": str(demo / "world/test.questions.jsonl"), "limit": 4}]
    )
    assert sums_of(demo) == before
    assert (demo / "grpo" / "metrics.jsonl").read_bytes() == lines
    assert not any(line.startswith("step") for line in said.splitlines())
    assert f"report: {page}\n" in said
    assert page == demo / "report.html"
    assert all(f"<b>{name}</b>" in page.read_text(encoding="utf-8") for name in BOTH)
    assert "wrong answers end at" in said.splitlines()[-1] or "no wrong answer" in said.splitlines()[-1]


def test_an_interrupted_demo_continues(demo: Path, tmp_path: Path) -> None:
    """Killed before the base model is there, with the first objective under way, and it ends as if it had not been."""
    out = tmp_path / "out"
    (out / ".base.tmp").mkdir(parents=True)
    (out / ".base.tmp" / "torn").write_text("{")
    miniature(out, objectives=("dr_grpo",), train__steps=2)
    assert not (out / "grpo").exists()
    assert not (out / "base" / "torn").exists()
    miniature(out)
    for name in BOTH:
        assert untimed(Run.open(out / name).read("metrics")) == untimed(Run.open(demo / name).read("metrics"))
        final = "checkpoints/step-000003/model.safetensors"
        assert (out / name / final).read_bytes() == (demo / name / final).read_bytes()
    with pytest.raises(UserError, match=r"--steps 2 is less than the 3 steps .*; give --steps 3 or more, or choose"):
        miniature(out, train__steps=2)


def test_from_scratch_the_base_is_made_here_and_paths_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_model, "DOCUMENTS", 400)
    out = tmp_path / "[red]"
    _, said = miniature(out, seed=3, objectives=("grpo",), from_scratch=True, pretrain_steps=4, train__steps=1)
    lines = said.splitlines()
    assert lines[0] == f"pretraining a base model: 4 steps, in {out}/pretraining"
    assert lines[-3:-1] == [f"learning curves: {out}/curves.png", f"report: {out}/report.html"]
    assert Run.open(out / "pretraining").read_recipe(base_model.PretrainRecipe).train.seed == 3
    trained = load_file(out / "pretraining/checkpoints/step-000004/model.safetensors")
    rounded = load_file(out / "base" / "model.safetensors")
    assert trained.keys() == rounded.keys()
    assert all(torch.equal(trained[name].bfloat16(), tensor) for name, tensor in rounded.items())
    assert AutoTokenizer.from_pretrained(out / "base").get_vocab() == AutoTokenizer.from_pretrained(SHIPPED).get_vocab()
    assert json.loads((out / "base" / "config.json").read_text()) == json.loads((SHIPPED / "config.json").read_text())
    with pytest.raises(UserError, match="was begun with --from-scratch; give the same to continue it, or choose anoth"):
        miniature(out, seed=3, objectives=("grpo",), train__steps=1)


@pytest.mark.parametrize("found", ["demo.json", "dr_grpo"])
def test_another_seed_does_not_go_on_with_what_is_there(demo: Path, tmp_path: Path, found: str) -> None:
    (shutil.copytree if (demo / found).is_dir() else shutil.copy)(demo / found, tmp_path / found)
    before = sums_of(tmp_path)
    with pytest.raises(UserError) as caught:
        miniature(tmp_path, seed=1)
    assert str(caught.value) == (
        f"--seed 1 is not the seed 0 that the demo in {tmp_path} was begun with; give --seed 0 to continue it, or "
        "choose another --out."
    )
    assert sums_of(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [found]


def test_a_demo_of_an_older_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "demo_seed.txt").write_text("0\n")
    with pytest.raises(UserError, match=r"of an older version, which `r1zero report .*` still shows; choose another"):
        miniature(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["base", "base/demo_seed.txt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": "0", "from_scratch": false}', '{"seed": 0}'])
def test_a_damaged_plan_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(UserError, match=r"demo.json cannot be read .*; remove it, and give the same command again"):
        miniature(tmp_path)


@pytest.mark.slow
def test_the_command_runs_both_side_by_side_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    words = ("demo", "--steps", "10", "--out", tmp_path / "out")
    killed = start(*words, "--workers", "1")
    wait_for(lambda: any((tmp_path / "out").glob("*/rollouts/*4.parquet")) or killed.poll(), "a run's fourth step")
    assert killed.kill() < 0
    said = start(*words).done().splitlines()
    assert sorted(line[11:19].strip() for line in said if line.startswith("step   10  ")) == ["Dr. GRPO", "GRPO"]
    assert "wrong answers end at" in said[-1]
    assert said[-1].startswith("This seed did not show it: ")  # after so few steps none does
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


# ---- what is said at the end


def ended(name: str, wrong: Mapping[int, tuple[int, int]], cut: int = 0) -> SeedGroup:
    """A run whose wrong answers, of each step, are so many with so many tokens; `cut` more of 100 tokens in each."""
    lengths = {
        step: {"correct": (2, 20), "incorrect": pair, "truncated": (cut, 100 * cut), "ungraded": (0, 0)}
        for step, pair in wrong.items()
    }
    recipe = {"sampling.max_new_tokens": 100}
    return SeedGroup(name, (RunData(Path(name), {}, recipe, {}, {}, lengths, (), (), running=False),))


STEPS = range(1, 21)  # the last tenth: two
SHORT = dict.fromkeys(STEPS, (4, 60))  # 15 tokens each


def test_the_sentence_says_what_was_seen_with_its_number() -> None:
    # GRPO's last two steps: 2 of 40 tokens and 2 of 100 that were cut off: 280 / 4 = 70 tokens.
    long = {**SHORT, 19: (2, 80), 20: (2, 80)}
    assert seen({"dr_grpo": ended("d", SHORT), "grpo": ended("g", long, cut=2)}) == (
        "Seen: wrong answers end at 70.0 tokens under GRPO and at 15.0 under Dr. GRPO, 55.0 apart (mean of the last 2 "
        "steps, those cut off included)."
    )


@pytest.mark.parametrize(
    "tokens, length, apart", [(96, "24.0", "9.0"), (60, "15.0", "0.0"), (40, "10.0", "5.0"), (99, "24.8", "9.8")]
)
def test_the_sentence_says_when_a_seed_did_not_show_it(tokens: int, length: str, apart: str) -> None:
    groups = {"dr_grpo": ended("d", SHORT), "grpo": ended("g", dict.fromkeys(STEPS, (4, tokens)))}
    assert seen(groups) == (
        f"This seed did not show it: wrong answers end at {length} tokens under GRPO and at 15.0 under Dr. GRPO, "
        f"{apart} apart (mean of the last 2 steps, those cut off included); from 10 on it would count, and another "
        "--seed with another --out may show it."
    )


def test_the_sentence_needs_wrong_answers_and_both_objectives() -> None:
    none = ended("n", dict.fromkeys(STEPS, (0, 0)))
    assert seen({"dr_grpo": none, "grpo": ended("g", SHORT)}) == (
        "This seed did not show it: at the end Dr. GRPO gave no wrong answer, whose length could be told."
    )
    assert seen({"rloo": ended("r", SHORT), "grpo": none}) == (
        "At the end wrong answers are 15 tokens long under rloo and none under GRPO; the paper's comparison takes "
        "--objectives dr_grpo grpo."
    )


def test_a_line_tells_how_long_answers_of_each_kind_are() -> None:
    sums = {"correct": (3, 48), "incorrect": (4, 66), "truncated": (1, 100), "ungraded": (0, 0)}
    assert shown.step_line(10, "grpo", sums) == (
        "step   10  GRPO      right  38%  tokens of right answers 16.0, of wrong ones 33.2  cut off  12%"
    )
    nothing = dict.fromkeys(sums, (0, 0))
    assert "tokens of right answers    -, of wrong ones    -" in shown.step_line(10, "rloo", nothing)
