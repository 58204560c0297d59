"""Run directories: what is written reads back, what a crash tore is left out, and another run is never continued."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pytest

import r1zero
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.report.data.run_data import load_run
from r1zero.runs import checkpoints
from r1zero.runs.begin import Beginning
from r1zero.runs.files import remedy, write_parquet, write_text, writing
from r1zero.runs.provenance import provenance
from r1zero.runs.run import Run
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict
from tiny_runs import tiny_recipe

FACTS = {
    "objective_hash": "abc",
    "questions_fingerprint": "def",
    "benchmarks_fingerprint": "345 678",
    "template_hash": "012",
    "device": "cpu",
    "threads": 1,
    "parameters": 9,
    "questions": "arithmetic",
    "questions_count": 16,
}


def recipe(overrides: dict[str, object] | None = None) -> Recipe:
    return tiny_recipe(overrides, model=Path("base"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", recipe(), FACTS)


# ---- creating, finding, opening


def test_a_new_run_says_how_it_was_made(run: Run) -> None:
    assert Run.open(run.path).recipe == recipe()
    assert run.facts["objective_hash"] == "abc"
    assert sorted(path.name for path in run.path.iterdir()) == [
        "checkpoints",
        "evaluations",
        "recipe.json",
        "rollouts",
        "run.json",
    ]


def test_a_run_is_continued_only_when_asked(run: Run, tmp_path: Path) -> None:
    assert Run.find(run.path, resume=True) == run
    with pytest.raises(UserError, match="already holds a run; add --resume to continue it, or choose another --out"):
        Run.find(run.path, resume=False)
    assert Run.find(tmp_path / "nowhere", resume=True) is None
    assert Run.find(tmp_path / "nowhere", resume=False) is None


def test_a_directory_cut_short_before_it_became_a_run_is_no_run(run: Run) -> None:
    (run.path / "run.json").unlink()
    assert Run.find(run.path, resume=False) is None
    with pytest.raises(UserError, match=r"is not a run directory \(it has no run\.json\); give the path of one"):
        Run.open(run.path)
    assert Run.create(run.path, recipe(), FACTS).recipe == recipe()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written \(.*\); choose another with --out\.$"):
        Run.create(tmp_path / "file", recipe(), FACTS)


@pytest.mark.parametrize("damage", [None, "", "{", "[]", "{}", "null", "\udcff"])
@pytest.mark.parametrize("name", ["run.json", "recipe.json"])
def test_a_damaged_run_is_one_sentence(run: Run, name: str, damage: str | None) -> None:
    if damage is None:
        (run.path / name).unlink()
    else:
        (run.path / name).write_bytes(damage.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=rf"{name} cannot be read .*: the run directory is damaged; restore that file"):
        _ = run.facts if name == "run.json" else run.recipe


def test_provenance_names_versions_commit_and_command() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    made = provenance()
    assert made["r1zero"] == r1zero.__version__
    assert made["python"] == sys.version.split()[0]
    assert set(made["versions"]) == {
        "torch", "transformers", "datasets", "math-verify", "sympy", "numpy", "tokenizers"
    }  # fmt: skip
    assert made["versions"]["sympy"][0].isdigit()
    assert before <= datetime.fromisoformat(made["started"]) <= datetime.now(UTC)
    assert made["command"][1:] == sys.argv[1:]


def test_provenance_names_the_git_commit() -> None:
    folder = Path(r1zero.__file__).parent
    asked = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True)
    if asked.returncode:
        pytest.skip("not a git repository")
    commit, _, changes = provenance()["git_commit"].partition("+")
    assert commit == asked.stdout.strip()
    assert len(commit) == 40
    status = ["git", "-C", str(folder), "status", "--porcelain", "."]
    edited = subprocess.run(status, capture_output=True, text=True).stdout.strip()
    assert changes == ("changes" if edited else "")


# ---- the same run?


def test_a_run_goes_on_with_its_own_recipe(run: Run) -> None:
    run.check_same(recipe(), FACTS)


# some of those that test_config lists
MAY_CHANGE: dict[str, object] = {
    "train.steps": 9,
    "checkpoint.every": 1,
    "checkpoint.keep_best": False,
    "log.rollouts_every": 0,
    "log.sinks": ["wandb"],
    "evaluation.every": 1,
    "verifier.workers": 4,
    "questions.data_dir": "elsewhere",  # where files lie, not what they hold: that has fingerprints
    "model.device": "cuda",  # said in a note
}


def test_what_leaves_the_weights_alone_may_change(run: Run) -> None:
    run.check_same(recipe(MAY_CHANGE), FACTS)


def test_everything_that_bits_depend_on_may_not_and_is_named(run: Run) -> None:
    others = {"learner.eps": 1.0, "learner.micro_tokens": 100, "model.path": "other",
              "questions.options.level": 2, "sampling.batch_rows": 3, "template.name": "r1",
              "train.seed": 2, "train.threads": 2, "verifier.timeout_s": 1.0}  # fmt: skip
    with pytest.raises(UserError) as caught:
        run.check_same(recipe(MAY_CHANGE | others), FACTS)
    assert str(caught.value) == (
        f"{run.path} was started with other settings of {', '.join(others)}; resume it with the recipe it has (give "
        "only its directory and --resume), or start another run with another --out."
    )


@pytest.mark.parametrize(
    "key, value",
    [
        ("model.path", "other"),
        ("sampling.batch_rows", 3),
        ("learner.micro_tokens", 100),
        ("questions.options.level", 2),
        ("template.name", "r1"),
        ("verifier.timeout_s", 1.0),
        ("train.threads", 2),
        ("rollout.samples", 8),
        ("objective.importance_cap", 2.0),
        ("learner.eps", 1e-6),
        ("learner.betas", [0.9, 0.99]),
    ],
)
def test_a_setting_that_bits_depend_on_is_refused(run: Run, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"other settings of {key};"):
        run.check_same(recipe({key: value}), FACTS)


EVALUATION: dict[str, object] = {"evaluation.samples": 2, "evaluation.temperature": 1.0}


@pytest.mark.parametrize(
    "key, value, facts",
    [
        ("learner.learning_rate", 1e-9, {}),
        ("learner.schedule", "linear", {}),
        ("learner.warmup_steps", 3, {}),
        ("learner.max_grad_norm", 0.1, {}),
        ("objective.clip_high", 0.3, {"objective_hash": "new"}),
        ("objective.clip_low", 0.1, {"objective_hash": "new"}),
        ("critic.learning_rate", 0.1, {}),
        ("evaluation.benchmarks", [], {"benchmarks_fingerprint": ""}),
        ("evaluation.samples", 3, {}),
        ("evaluation.max_new_tokens", 8, {}),
        ("evaluation.temperature", 0.5, {}),
        ("evaluation.top_p", 0.5, {}),
    ],
)
def test_another_course_is_noted_and_what_it_is_now_is_what_the_run_says(
    tmp_path: Path, key: str, value: object, facts: dict[str, str]
) -> None:
    Run.create(tmp_path, recipe(EVALUATION), FACTS)
    changed = recipe(EVALUATION | {key: value})
    for _ in range(2):  # the second time nothing changes
        beginning = Beginning.find(tmp_path, resume=True)
        assert beginning.existing
        beginning.existing.check_same(changed, FACTS | facts)
        beginning.go_on(changed, FACTS | facts, beginning.notes(changed, FACTS | facts))
    run = Run.open(tmp_path)
    assert run.recipe == changed
    assert facts.items() <= run.facts.items()
    (note,) = run.read("notes")
    assert note["note"].startswith(f"from here on with {key} = {json.dumps(value)} (before ")
    assert ("scores of before count no longer" in note["note"]) == key.startswith("evaluation.")
    with pytest.raises(UserError, match="another template hash"):
        run.check_same(changed, FACTS | facts | {"template_hash": "new"})
    shown = load_run(tmp_path)
    assert f"after step 0: {note['note']}" in shown.notes
    assert facts.items() <= shown.facts.items()


def test_scores_of_another_evaluation_compare_no_longer(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe(EVALUATION), FACTS)
    folder = tmp_path / "checkpoints"
    for step, score in ((2, 0.75), (4, 0.5)):
        checkpoints.save(folder, step, lambda aside: None, {}, score)
    for settings, kept in ((EVALUATION, [0.75, 0.5]), (EVALUATION | {"evaluation.samples": 3}, [None, None])):
        beginning = Beginning.find(tmp_path, resume=True)
        beginning.go_on(recipe(settings), FACTS, beginning.notes(recipe(settings), FACTS))
        assert [checkpoint.score for checkpoint in checkpoints.complete(folder)] == kept
    assert all(checkpoint.intact() for checkpoint in checkpoints.complete(run.path / "checkpoints"))


def test_a_change_that_was_noted_and_not_saved_is_no_obstacle(run: Run) -> None:
    """Killed between the two, the run has the recipe of before and the fact of later."""
    run.note(0, ["from here on"], FACTS | {"objective_hash": "new"})
    assert run.facts["objective_hash"] == "new"
    run.check_same(recipe(), FACTS)
    run.check_same(recipe({"objective.clip_high": 0.3}), FACTS | {"objective_hash": "new"})


def test_fewer_steps_than_are_done_are_refused(run: Run) -> None:
    run.check_same(recipe({"train.steps": 4}), FACTS, 4)
    with pytest.raises(UserError) as caught:
        run.check_same(recipe({"train.steps": 2}), FACTS, 4)
    assert str(caught.value) == (
        f"train.steps = 2 is less than the 4 steps that {run.path} has done; set train.steps to 4 or more, or start "
        "another run with another --out."
    )


def test_another_torch_or_device_is_a_note(run: Run) -> None:
    now = provenance() | FACTS
    torch = now["versions"]["torch"]
    assert run.device_notes(now) == []
    assert run.device_notes(now | {"device": "cuda:0"}) == [
        f"started with torch {torch} on cpu, now torch {torch} on cuda: from here on the numbers are not bit for bit "
        "those of a run that was never interrupted"
    ]
    (note,) = run.device_notes(now | {"versions": {"torch": "9.9"}})
    assert note.startswith(f"started with torch {torch} on cpu, now torch 9.9 on cpu: ")
    (note,) = run.device_notes(now | {"versions": {"torch": torch, "transformers": "9.9"}})
    assert note.startswith(
        f"started with torch {torch} on cpu, transformers {now['versions']['transformers']}, now torch"
    )
    assert f"now torch {torch} on cpu, transformers 9.9: from here on" in note
    run.note(3, [note])
    ((step, kept),) = [(row["step"], row["note"]) for row in run.read("notes")]
    assert (step, kept) == (3, note)


def test_another_processor_capability_is_a_note(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe(), FACTS | {"cpu_capability": "AVX512"})
    now = provenance() | FACTS
    torch = now["versions"]["torch"]
    assert run.device_notes(now | {"cpu_capability": "AVX512"}) == []
    assert run.device_notes(now | {"cpu_capability": "AVX2"}) == [
        f"started with torch {torch} on cpu, AVX512, now torch {torch} on cpu, AVX2: from here on the numbers are not "
        "bit for bit those of a run that was never interrupted"
    ]
    assert run.device_notes(now) == []  # not known
    on_gpu = Run.create(tmp_path / "gpu", recipe(), FACTS | {"device": "cuda:0", "cpu_capability": "AVX512"})
    assert on_gpu.device_notes(now | {"device": "cuda:0", "cpu_capability": "AVX2"}) == []  # a GPU's bits are its own


def test_another_way_of_drawing_is_a_note_where_it_begins(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe(), FACTS)  # a run of before names none
    now = provenance() | FACTS
    assert run.device_notes(now | {"drawing": None}) == []
    later = now | {"drawing": "blocks of 1024"}
    notes = run.device_notes(later)
    assert notes == [
        "started with another way of drawing tokens: from here on some responses may be others than those of a run "
        "that was never interrupted"
    ]
    run.note(3, notes, later)
    assert run.device_notes(later) == []


def test_another_card_of_the_same_kind_is_none(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe(), FACTS | {"device": "cuda:0"})
    assert run.device_notes(provenance() | FACTS | {"device": "cuda:1"}) == []


def test_more_steps_are_noted_where_the_schedule_depends_on_them(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe({"learner.schedule": "cosine"}), FACTS)
    longer = recipe({"learner.schedule": "cosine", "train.steps": 9})
    run.check_same(longer, FACTS)
    assert run.changes(recipe({"learner.schedule": "cosine"})) == []
    assert run.changes(longer) == ["from here on with train.steps = 9 (before 3)"]
    constant = Run.create(tmp_path / "constant", recipe(), FACTS)
    assert constant.changes(recipe({"train.steps": 9})) == []


@pytest.mark.parametrize("name", ["objective_hash", "questions_fingerprint", "benchmarks_fingerprint", "template_hash"])
def test_another_objective_set_or_template_is_refused(run: Run, name: str) -> None:
    with pytest.raises(UserError, match=f"started with another {name.replace('_', ' ')} \\({FACTS[name]}, now new\\)"):
        run.check_same(recipe(), FACTS | {name: "new"})


def test_a_renewed_recipe_is_what_the_next_resume_sees(run: Run) -> None:
    run.save_recipe(recipe({"train.steps": 9}))
    assert run.recipe.train.steps == 9


# ---- lines


def test_lines_read_back_in_order(run: Run) -> None:
    assert run.read("metrics") == []
    rows = [{"step": 1, "x": 0.1}, {"step": 2, "x": float("inf"), "name": "Größe"}]
    for row in rows:
        run.log("metrics", row)
    assert run.read("metrics") == rows
    assert (run.path / "metrics.jsonl").read_bytes().endswith(b"\n")


def test_a_line_that_the_disk_does_not_take_is_one_sentence(run: Run) -> None:
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be written \(No space left on device\); make room"):
        run.log("metrics", {"step": 1})


def test_rewind_drops_later_lines_of_both_logs(run: Run) -> None:
    for step in (1, 2, 3, 4):
        run.log("metrics", {"step": step})
    for step in (0, 2, 4):
        run.log("evaluations", {"step": step})
    run.rewind(2)
    assert [row["step"] for row in run.read("metrics")] == [1, 2]
    assert [row["step"] for row in run.read("evaluations")] == [0, 2]
    run.log("metrics", {"step": 3})
    assert [row["step"] for row in run.read("metrics")] == [1, 2, 3]
    run.rewind(-1)
    assert run.read("metrics") == []
    assert run.read("evaluations") == []


@pytest.mark.parametrize("line", ['{"x":', "[" * 100_000, '{"step": ' + "1" * 5000 + "}", "[1]", '{"step": "2"}'])
def test_a_line_that_cannot_be_read_is_kept_beside_and_told(run: Run, line: str) -> None:
    path = run.path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n{{"st')
    before = path.read_bytes()
    assert run.rewind(3) == ["1 line of metrics.jsonl cannot be read; as it was, it is kept as metrics.damaged"]
    assert run.read("metrics") == [{"step": 1}, {"step": 3}]
    assert (run.path / "metrics.damaged").read_bytes() == before
    assert run.rewind(1) == []


def test_a_last_line_torn_anywhere_is_dropped_and_the_next_is_whole(run: Run) -> None:
    """Cut after every byte of the last line, within characters of several bytes too."""
    whole = json.dumps({"step": 2, "name": "Größe 試"}, ensure_ascii=False).encode()
    path = run.path / "metrics.jsonl"
    for cut in range(len(whole)):
        path.write_bytes(b'{"step": 1}\n' + whole[:cut])
        assert run.read("metrics") == [{"step": 1}]
        run.rewind(2)
        run.log("metrics", {"step": 2})
        assert run.read("metrics") == [{"step": 1}, {"step": 2}]
    path.write_bytes(b'{"step": 1}\n' + whole)  # all but its newline: nothing is lost
    run.rewind(2)
    run.log("metrics", {"step": 3})
    assert [row["step"] for row in run.read("metrics")] == [1, 2, 3]


# ---- rollouts


ROLLOUTS = [
    Rollout(
        Question("set/0", "3+8=", ("11", "eleven"), "1"),
        "3+8=",
        (6, 80, 11),
        (
            Completion((4, 4, 1), (-0.5, -0.25, -2.0), " 11", Stop.EOS),
            Completion((5,), (-1.5,), "é", Stop.LENGTH),
        ),
        (Verdict(Outcome.RIGHT, "11", "number", 0.5), Verdict(Outcome.NO_ANSWER, None, "no answer", 0.25)),
    ),
    Rollout(
        Question("set/1", "9", ("9",)),
        "9",
        (12,),
        (
            Completion((7, 7), (-0.125, -3.0), "8", Stop.STOP_STRING),
            Completion((7, 8), (-1.0, -1.0), "?", Stop.EOS),
        ),
        (Verdict(Outcome.UNGRADED, "8", "gold too long", 0.0), Verdict(Outcome.TIMEOUT, "?", "killed", 2.0)),
    ),
]


def test_rollouts_survive_parquet_to_the_last_bit(run: Run) -> None:
    run.save_rollouts(3, ROLLOUTS, {"reward": [1.0, 0.0, 0.0, 0.0], "advantage": [0.5, -0.5, 0.0, 0.0]})
    rows = run.responses(3)
    assert [row["question_id"] for row in rows] == ["set/0", "set/0", "set/1", "set/1"]
    assert [row["sample"] for row in rows] == [0, 1, 0, 1]
    assert rows[0] == {
        "question_id": "set/0",
        "question": "3+8=",
        "level": "1",
        "gold": ["11", "eleven"],
        "sample": 0,
        "prompt": "3+8=",
        "response": " 11",
        "stop": "eos",
        "length": 3,
        "outcome": "right",
        "extracted": "11",
        "rule": "number",
        "grade_seconds": 0.5,
        "prompt_ids": [6, 80, 11],
        "response_ids": [4, 4, 1],
        "logprobs": [-0.5, -0.25, -2.0],
        "source": "set",
        "extra": None,
        "reward": 1.0,
        "advantage": 0.5,
    }
    assert [row["outcome"] for row in rows] == ["right", "no_answer", "ungraded", "timeout"]
    assert [row["stop"] for row in rows] == ["eos", "length", "stop_string", "eos"]
    assert [row["level"] for row in rows] == ["1", "1", None, None]
    assert rows[1]["extracted"] is None
    assert [row["response"] for row in rows] == [" 11", "é", "8", "?"]


def test_rollouts_of_a_step_that_was_not_saved_are_one_sentence(run: Run) -> None:
    with pytest.raises(UserError, match="has no rollouts of step 4"):
        run.responses(4)


# ---- files


def test_replacing_leaves_the_new_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "two")]


def test_a_failed_replacement_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "one")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\udcff")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "one")]


def test_parquet_where_nothing_can_be_written_is_one_sentence(run: Run) -> None:
    (run.path / "evaluations" / "file").write_text("")
    with pytest.raises(UserError, match=r"set\.parquet cannot be written \(.*\); mend that and give the same command"):
        write_parquet(run.path / "evaluations" / "file" / "set.parquet", pyarrow.table({"a": [1]}))


@pytest.mark.parametrize(
    "number, advice",
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EACCES, "get permission to write there"),
        (errno.EROFS, "get permission to write there"),
        (errno.ENOTDIR, "mend that"),
    ],
)
def test_the_advice_is_that_for_what_went_wrong(number: int, advice: str) -> None:
    with pytest.raises(UserError) as caught, writing(Path("x")):
        raise OSError(number, os.strerror(number), "x")
    sentence = f"x cannot be written ({os.strerror(number)}); {advice} and give the same command again"
    assert str(caught.value) == f"{sentence}."
    with pytest.raises(UserError) as caught, writing(Path("x"), resumes=True):
        raise OSError(number, os.strerror(number), "x")
    assert str(caught.value) == f"{sentence} with --resume."


def test_the_advice_for_writers_that_hide_the_number() -> None:
    assert remedy(ValueError("I/O error: No space left on device (os error 28)")) == "make room there"
    assert remedy(ValueError("I/O error: Permission denied (os error 13)")) == "get permission to write there"
    assert remedy(RuntimeError("file write failed")) == "make room there"


def test_a_run_that_lost_its_run_json_is_not_started_over(run: Run) -> None:
    run.log("metrics", {"step": 1})
    (run.path / "run.json").unlink()
    for resume in (False, True):
        with pytest.raises(UserError, match=r"has lost its run\.json"):
            Run.find(run.path, resume=resume)


def test_a_bad_line_costs_no_other_line(run: Run) -> None:
    run.log("metrics", {"step": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("\x00\x00\n3\n[]\n{}\n")
    run.log("metrics", {"step": 2})
    run.rewind(5)
    assert [row["step"] for row in run.read("metrics")] == [1, 2]


def test_damaged_checkpoints_are_told_and_never_restarted_over(tmp_path: Path) -> None:
    (tmp_path / "step-000004").mkdir()  # unsealed, so not whole
    with pytest.raises(UserError, match=r"No checkpoint in .* is whole \(step-000004\)"):
        checkpoints.newest(tmp_path)
    (tmp_path / "step-000002").mkdir()
    (tmp_path / "step-000002" / "complete.json").write_text('{"step": 2, "score": null, "files": {}}')
    checkpoint, notes = checkpoints.newest(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert notes == ["step-000004 is damaged and was passed over"]


def test_no_checkpoint_at_all_is_a_start_from_the_beginning(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) == (None, [])
