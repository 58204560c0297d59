"""A run directory: everything a run makes, and how it was made. Reading one needs no torch.

run.json                    how it was made: versions, processor, objective formula and hash, git commit, seeds, threads
recipe.json                 the resolved recipe
metrics.jsonl               one line a step
evaluations.jsonl           one line an evaluation
metrics.damaged             the log as it was, where a run went on and lines of it could not be read
notes.jsonl                 what was noted when the run was continued: another torch, other settings, damage
aside-001/                  what was made after the step that the run went back to, where it is not made again
rollouts/step-000001.parquet          one row a response: question, prompt, ids, text, log-probs, verdict (rollout_rows)
evaluations/step-000000/SET.parquet   the same
checkpoints/step-000016/              an ordinary Hugging Face model folder, and the training state
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r1zero.config import Keeps, Recipe, Section, differences, validated
from r1zero.config.load import SectionT
from r1zero.config.overrides import flattened
from r1zero.errors import UserError, parsed, plural, reading
from r1zero.runs import moved
from r1zero.runs.exclusive import check_there
from r1zero.runs.files import write_parquet, write_text, writing
from r1zero.runs.foreign import read_text
from r1zero.runs.provenance import bits, now, provenance
from r1zero.runs.rollout_rows import Row, read_rows, rollout_table
from r1zero.runs.settled import as_asked, autocast_of, graders_noted
from r1zero.runs.steps import by_step
from r1zero.runs.tables import responses_of, table_of
from r1zero.types import Rollout

_SAME = ("objective_hash", "questions_fingerprint", "benchmarks_fingerprint", "template_hash")
"""Facts that must be what they were."""
_LATER = (
    *_SAME,
    "reward_fingerprint",
    "rewards_fingerprint",
    "drawing",
    *moved.CONTENTS,
    "objective",
    "objective_formula",
    "steps",
    "places",
    "benchmarks",
)
"""Facts that hang on settings which may change when a run goes on."""
_FACTS = {"versions": dict, "device": str, "threads": int, "parameters": int}
"""Facts of every kind of run that are read again; a run.json without them, or with other kinds, is damaged."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory. `create`, `find` and the writers are for training; the rest reads."""

    path: Path

    @classmethod
    def create(cls, path: Path, recipe: Section, facts: Mapping[str, Any]) -> Run:
        """Begin a run in a directory that holds none.

        Raises:
            UserError: nothing can be written there.
        """
        run = cls(path)
        try:
            for folder in ("rollouts", "evaluations", "checkpoints"):
                (path / folder).mkdir(parents=True, exist_ok=True)
            write_text(path / "recipe.json", _json(recipe.model_dump(mode="json")))
            write_text(path / "run.json", _json(provenance() | dict(facts)))  # last: its presence makes it a run
        except OSError as error:
            raise UserError(
                f"The run directory {path} cannot be written ({error.strerror}); choose another with --out."
            ) from None
        return run

    @classmethod
    def find(cls, path: Path, *, resume: bool) -> Run | None:
        """Return the run to resume in `path`, or None for a fresh start. Raises UserError when one is there unasked."""
        if not (path / "run.json").exists():
            if (path / "metrics.jsonl").exists() or any(path.glob("checkpoints/step-*")):
                raise UserError(
                    f"{path} holds the files of a run but has lost its run.json, so it cannot be continued; choose "
                    "another --out, or move its files away."
                )
            return None
        if not resume:
            raise UserError(f"{path} already holds a run; add --resume to continue it, or choose another --out.")
        return cls(path)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Return a run that exists. Raises UserError when there is none."""
        path = Path(path)
        if not (path / "run.json").is_file():
            raise UserError(f"{path} is not a run directory (it has no run.json); give the path of one.")
        return cls(path)

    @property
    def recipe(self) -> Recipe:
        """The recipe the run was started, or last continued, with."""
        return self.read_recipe(Recipe)

    @property
    def recipe_here(self) -> Recipe:
        """The recipe, with whole paths of what it names from where the run was started, and is not there from here."""
        return moved.placed(self.recipe, self.recipe, self.places)

    def read_recipe(self, kind: type[SectionT], overrides: Mapping[str, object] | None = None) -> SectionT:
        """Return the recipe of a kind of run, with dotted overrides. Raises UserError where it is another."""
        data, path = self._read_json("recipe.json", ("model", "train")), self.path / "recipe.json"
        missing = [name for name, field in kind.model_fields.items() if field.is_required() and name not in data]
        if missing:
            raise UserError(
                f"{path} lacks the section {missing[0]}: it is of another kind of run, which its own command continues "
                "(`r1zero train` or `r1zero pretrain`)."
            )
        return validated(data, kind, overrides, str(path))

    @property
    def facts(self) -> dict[str, Any]:
        """How the run was made; of what changed when it was continued, how it is made now."""
        facts = self._read_json("run.json", _FACTS)
        for later in self._later_facts():
            facts |= later
        return facts

    @property
    def autocast(self) -> str:
        """The precision that the run computes in: what `learner.autocast` says, or what `auto` came to be here."""
        return autocast_of(self.recipe.learner.autocast, self.facts)

    @property
    def places(self) -> dict[str, Any]:
        """Whole paths of what the recipe names, as far as it was there; a run of before knows none."""
        known = self.facts.get("places")
        return {name: each for name, each in known.items() if name in moved.PLACES} if isinstance(known, dict) else {}

    def _later_facts(self) -> list[dict[str, Any]]:
        """Return facts that changed when the run was continued, in order."""
        found = (row.get("facts") for row in self.read("notes"))
        return [{name: facts[name] for name in _LATER if name in facts} for facts in found if isinstance(facts, dict)]

    def check_same(self, recipe: Recipe, facts: Mapping[str, Any], done: int = 0) -> None:
        """Make sure that continuing with `recipe` and `facts` after `done` steps continues the same run, bit for bit.

        Settings that may change are noted (`changes`), and what follows is of another course.

        Raises:
            UserError: a setting differs that would make it another run, the questions or the objective changed, or
                fewer steps are asked for than are done.
        """
        if recipe.train.steps < done:
            raise UserError(
                f"train.steps = {recipe.train.steps} is less than the {done} steps that {self.path} has done; set "
                f"train.steps to {done} or more, or start another run with another --out."
            )
        self._read_json("run.json", _SAME)
        self.refuse_changes(recipe, facts)
        before = self._held()
        clips = self.changed(recipe, facts, "objective")
        benchmarks = self.changed(recipe, facts, "evaluation.benchmarks")
        follows = {"objective_hash"} if clips else set()
        follows |= {"benchmarks_fingerprint"} if benchmarks else set()
        moved.check_contents(self.path, recipe, before, facts)
        for name in (*_SAME, "reward_fingerprint", "rewards_fingerprint"):  # runs of before do not have the last
            # any that the run ever had: it may have been killed between noting a change and saving the recipe of it
            held, new = [each[name] for each in before if name in each], facts.get(name)
            if name == "reward_fingerprint" and new is None and held and recipe.verifier.reward:
                raise UserError(
                    f"verifier.reward = {recipe.verifier.reward!r}, which {self.path} was started with, is not found "
                    f"from {Path.cwd()}: write --verifier.reward with the path of its file, /FOLDER/FILE.py:FUNCTION."
                )
            if name == "rewards_fingerprint" and held:
                moved.check_code(self.path, held[-1], new)
            if held and new not in held and name not in follows:
                raise UserError(
                    f"{self.path} was started with another {name.replace('_', ' ')} ({held[-1]}, now {new}), so "
                    "continuing would not be the same run; restore what it had, or start another run with another "
                    "--out."
                )

    def _held(self) -> list[dict[str, Any]]:
        """Return the facts that the run ever had, in order."""
        return [self._read_json("run.json", _FACTS), *self._later_facts()]

    def moved(self, recipe: Section, facts: Mapping[str, Any]) -> list[str]:
        """Return the settings that name another place than before, at which the same lies."""
        return moved.proven(self.read_recipe(type(recipe)), recipe, self._held(), facts)

    def as_asked(self, recipe: SectionT) -> SectionT:
        """Return the recipe that the run has, in the words of `recipe` where they mean the same for this run."""
        return as_asked(self.read_recipe(type(recipe)), recipe, self.facts)

    def _recorded(self, recipe: SectionT, facts: Mapping[str, Any]) -> SectionT:
        """Return the recipe that the run has, with the places where the same lies now."""
        return moved.with_moves(self.as_asked(recipe), recipe, self.moved(recipe, facts))

    def check_models(self, recipe: Section, facts: Mapping[str, Any]) -> None:
        """Make sure, of the models that `facts` has fingerprints of, that the run was started with them.

        Raises:
            UserError: a model is another, wherever it lies; it names the setting and what differs.
        """
        was = self.read_recipe(type(recipe))
        pairs = moved.renamed(was, recipe)
        names = set(pairs) - set(self.moved(recipe, facts))
        others = sorted(name for name in names if moved.PLACES[name].fact in moved.MODELS)
        if said := moved.unproven(self.path, others, pairs, self._held(), facts):
            raise UserError(said)
        moved.check_contents(self.path, recipe, self._held(), facts)

    def changed(self, recipe: Section, facts: Mapping[str, Any] | None = None, where: str = "") -> list[str]:
        """Return the settings below `where` that may differ when a run goes on, to be noted, and do."""
        was = self._recorded(recipe, facts or {})
        loose = set(differences(was, recipe)) - set(differences(was, recipe, but=Keeps.PAST))
        if "train.steps" in differences(was, recipe) and _decays(recipe):
            loose.add("train.steps")
        return sorted(name for name in loose if f"{name}.".startswith(f"{where}." if where else ""))

    def changes(self, recipe: Section, facts: Mapping[str, Any] | None = None) -> list[str]:
        """Return a note on settings that change where the run goes on, none where none do."""
        old, new = (flattened(each.model_dump(mode="json")) for each in (self.read_recipe(type(recipe)), recipe))
        told = [
            f"{name} = {_told(new.get(name))} (before {_told(old.get(name))})" for name in self.changed(recipe, facts)
        ]
        if self.changed(recipe, facts, "evaluation"):
            told[-1] += "; scores of before count no longer for the best checkpoint"
        return [f"from here on with {', '.join(told)}"] if told else []

    def moves(self, recipe: Section, facts: Mapping[str, Any]) -> list[str]:
        """Return a note on what lies elsewhere now, none where nothing does."""
        return moved.notes_of(self.read_recipe(type(recipe)), recipe, self.moved(recipe, facts))

    def refuse_changes(self, recipe: Section, facts: Mapping[str, Any] | None = None) -> None:
        """Refuse to go on with other settings but those that may change, and with other places but those at which, by
        `facts`, the same lies. Raises UserError naming them.
        """
        if changed := differences(self._recorded(recipe, facts or {}), recipe, but=Keeps.RUN | Keeps.PAST):
            pairs = moved.renamed(self.read_recipe(type(recipe)), recipe)
            raise UserError(
                moved.unproven(self.path, changed, pairs, self._held(), facts or {})
                or f"{self.path} was started with other settings of {', '.join(changed)}; resume it with the recipe "
                "it has (give only its directory and --resume), or start another run with another --out."
            )

    def device_notes(self, facts: Mapping[str, Any]) -> list[str]:
        """Return a note when the run goes on with other versions, or on another machine, than its bits depend on."""
        was = self.facts
        notes = graders_noted(was, facts)
        if was.get("drawing") != facts.get("drawing"):  # runs of before name none
            notes.append(
                "started with another way of drawing tokens: from here on some responses may be others than those of a "
                "run that was never interrupted"
            )
        old, new = bits(was), bits(facts)
        other = {name for name in old.keys() & new.keys() if old[name] != new[name]}
        if not other:
            return notes
        told = [", ".join(text for name, text in each.items() if name in other | {"torch"}) for each in (old, new)]
        return [
            *notes,
            f"started with {told[0]}, now {told[1]}: from here on the numbers are not bit for bit those of a run that "
            "was never interrupted",
        ]

    def note(self, step: int, notes: Iterable[str], facts: Mapping[str, Any] | None = None, **more: str) -> None:
        """Keep what a user should know of how the run was continued after `step`, and which facts are others now."""
        before, given = self.facts, facts or {}
        others = {name: given[name] for name in _LATER if name in given and given[name] != before.get(name)}
        for note in notes:
            changed = {"facts": others} if others else {}
            self.log("notes", {"step": step, "time": now(), "note": note, **more} | changed)

    def save_recipe(self, recipe: Section) -> None:
        """Save the recipe that the run continues with: more steps, say, which a later `--resume` must know of."""
        path = self.path / "recipe.json"
        with writing(path, resumes=True):
            write_text(path, _json(recipe.model_dump(mode="json")))

    def log(self, name: str, row: Mapping[str, Any]) -> None:
        """Append one line to NAME.jsonl, flushed to disk. Raises UserError when it cannot be written."""
        check_there(self.path)
        path = self.path / f"{name}.jsonl"
        if path.is_symlink() and not path.is_char_device():  # /dev/null keeps nothing of anybody's
            raise UserError(f"{path} is a link, through which a run writes nothing; put the file itself there.")
        with writing(path, resumes=True), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of NAME.jsonl; one torn by a crash, or that is no row of a step, is left out."""
        path = self.path / f"{name}.jsonl"
        rows: list[dict[str, Any]] = []
        with reading(path, "move it away, or restore it"):
            text = read_text(path, errors="replace") if path.exists() else ""
        for line in text.splitlines():
            try:
                row = parsed(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
        return rows

    def rewind(self, step: int) -> list[str]:
        """Forget what was logged after `step`: a resumed run writes it again, the same.

        Returns a note on every log of which lines cannot be read; as it was, it is kept beside.
        """
        notes = []
        for name in ("metrics", "evaluations"):
            path = self.path / f"{name}.jsonl"
            if not path.exists():
                continue
            rows = self.read(name)
            with writing(path, resumes=True):
                lost = _whole_lines(path) - len(rows)
                if lost > 0:
                    shutil.copyfile(path, path.with_suffix(".damaged"))
                    notes.append(
                        f"{plural(lost, 'line')} of {path.name} cannot be read; as it was, it is kept as {name}.damaged"
                    )
                kept = (row for row in rows if row["step"] <= step)
                write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        return notes

    def save_rollouts(self, step: int, rollouts: Iterable[Rollout], extra: Mapping[str, list[Any]]) -> None:
        """Write one Parquet file for the step: one row a response, ids and log-probs included."""
        check_there(self.path)  # which would be made anew
        write_parquet(self.path / "rollouts" / f"step-{step:06d}.parquet", rollout_table(rollouts, extra), resumes=True)

    def metrics(self) -> pa.Table:
        """Return what was logged, a row a step, under the names of docs/metrics.md; null where a step has none."""
        return table_of(self.read("metrics"))

    def evaluations(self) -> pa.Table:
        """Return the scores of all evaluations, a row each."""
        return table_of(self.read("evaluations"))

    def rollouts(self, *steps: int) -> pa.Table:
        """Return the saved responses, a row each, of some steps or of all: question, response, verdict, reward, ids, …

        Raises:
            UserError: a step's are not there, or a file is damaged.
        """
        if steps:
            return responses_of((step, self.rollout_file(step)) for step in steps)
        return responses_of(by_step((self.path / "rollouts").glob("*.parquet")))

    def responses(self, step: int) -> list[Row]:
        """Return the saved responses of a step as rows."""
        return read_rows(self.rollout_file(step))

    def rollout_file(self, step: int) -> Path:
        """Tell where the responses of a step are saved. Raises UserError when they are not."""
        path = self.path / "rollouts" / f"step-{step:06d}.parquet"
        if not path.is_file():
            raise UserError(f"{self.path} has no rollouts of step {step}; see the files in {path.parent}.")
        return path

    def _read_json(self, name: str, keys: Iterable[str] = ()) -> dict[str, Any]:
        remedy = "the run directory is damaged; restore that file, or start another run with another --out"
        with reading(self.path / name, remedy):
            data = parsed(read_text(self.path / name))
            if not isinstance(data, dict):
                raise ValueError("it holds no object")
            if missing := [key for key in keys if key not in data]:
                raise ValueError(f"it lacks {', '.join(missing)}")
            if wrong := [key for key in keys if key in _FACTS and not isinstance(data[key], _FACTS[key])]:
                raise ValueError(f"its {wrong[0]} is {data[wrong[0]]!r:.60}")
        return data


def _whole_lines(path: Path) -> int:
    """Count lines that were written to their end; a crash tears the last one."""
    return sum(bool(line.strip()) for line in path.read_bytes().split(b"\n")[:-1])


def _decays(recipe: Section) -> bool:
    """Tell whether the length of a run decides what its learning rate is."""
    return isinstance(recipe, Recipe) and recipe.learner.schedule != "constant"


def _told(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if value is not None else "none"


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
