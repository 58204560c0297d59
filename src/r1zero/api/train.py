"""`r1zero.train`: a run from what a program holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from r1zero.api.inputs import kept
from r1zero.api.objects import Objects
from r1zero.api.rewards import Reward, notes_of, rewards_of, told_of
from r1zero.api.said import Telling, said, tell
from r1zero.config import Recipe, Section, make_recipe
from r1zero.config.overrides import flattened
from r1zero.config.shipped import path_of
from r1zero.errors import UserError
from r1zero.objectives.objective import Objective
from r1zero.rewards.judge import bills
from r1zero.runs.chosen import default_out, is_folder, named
from r1zero.runs.run import Run
from r1zero.training.given import Given
from r1zero.training.train import train as run_training
from r1zero.training.watch import Together, View, Watcher, watching

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    out: str | Path | None = None,
    *,
    model: str | Path | PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    questions: Any = None,
    reward: Reward | None = None,
    objective: str | Objective | None = None,
    watch: View | Watcher | Sequence[View | Watcher] | None = None,
    resume: bool = False,
    from_step: int | None = None,
    **settings: Any,
) -> Run:
    """Train by a recipe and by what is given beside it; the same engine as `r1zero train`, the same bits.

    Args:
        recipe: a TOML file, the name of a shipped recipe, nested mappings, a `Recipe`, or a run directory to resume;
            None is what is given beside it, and defaults.
        out: the run directory; `runs/` and the recipe's name, or the next free `runs/run-N`, by default.
        model: a folder, a Hub name, or a model object. An object is saved in the run directory as it is, and has the
            trained weights when the run ends (not under `[lora]`, whose adapters are in the run's checkpoints).
        tokenizer: of a model object; by default that of the folder it came from.
        questions: a name or path, a list of rows (`{"question": …, "answer": …}`, further columns are kept) or of
            `Question`s, or a `datasets.Dataset`; or pairs of such a set and its weight. Rows are written into the run
            directory.
        reward: a name as in `verifier.reward`, a function, or the parts of a sum: names, rows of `[[reward]]` and
            functions (docs/rewards.md), called by the parameters that they name. A function that can be imported runs
            in killable workers; a program's own in a thread with a deadline, and is needed again to resume.
        objective: a row's name, or an `Objective`, whose parts may be functions of your own. A run of functions needs
            them again to be resumed.
        watch: a function of `step` and `metrics`, or of those of `step`, `metrics`, `control` and `run` that it names,
            called after every step; an object of a class derived from `View`; or several. `control.log(name=value)`,
            `control.evaluate()`, `control.save()` and `control.stop()` ask for these.
        resume: go on from the last checkpoint in `out`; from the start where there is none.
        from_step: go on from the checkpoint of this step.
        settings: any setting of the recipe by its dotted name, `**{"train.steps": 20}`, or a section,
            `train={"steps": 20}`.

    Returns:
        The run: its recipe, metrics and responses.

    Raises:
        UserError: anything to be mended, in one sentence.
    """
    resume = resume or from_step is not None
    with said():
        view = Together([Telling(), watching(watch)])
        place = _run_directory(recipe, out, resume)
        if not resume and (place / "run.json").exists():
            raise UserError(f"{place} already holds a run; give --resume to continue it, or another --out.")
        objects = Objects.of(model, tokenizer, questions, objective)
        rewarded, own_rewards = rewards_of(reward)
        changes = objects.settings(place) | rewarded | dotted(settings)
        whole = resolved(recipe, changes, place, resume)
        given = Given(
            objects.own,
            own_rewards,
            objects.told() | told_of(own_rewards),
            (*notes_of(own_rewards), *objects.notes()),
        )
        with kept(place):
            objects.put(place)
            with said(files=objects.files(place)):
                run = run_training(whole, place, resume=resume, from_step=from_step, view=view, given=given)
        objects.hand_back(run)
    tell(bills(run.path))
    return run


def _run_directory(recipe: object, out: str | Path | None, resume: bool) -> Path:
    """Return where the run is made: as asked, the run to be resumed, or a name of its own below `runs`."""
    if out is not None:
        return Path(out)
    if isinstance(recipe, str | Path):
        path = path_of(recipe)
        return path if resume and is_folder(path, resume=resume) else default_out(path)
    if resume:
        raise UserError("resume= needs the run directory to go on with: give it as the recipe, or as out=….")
    taken = {path.name for path in Path("runs").glob("run-*")}
    return Path("runs") / next(name for n in itertools.count(1) if (name := f"run-{n}") not in taken)


def resolved(recipe: Any, changes: Mapping[str, object], place: Path, resume: bool) -> Recipe:
    """Return the recipe with all that is changed in it. Raises UserError where it is none, or settings do not fit."""
    if resume and (place / "run.json").is_file() and (recipe is None or _is_run(recipe, resume)):
        return Run.open(place).read_recipe(Recipe, changes)
    if recipe is None:
        return make_recipe({}, changes)
    if isinstance(recipe, Section):
        return make_recipe(recipe.model_dump(mode="json"), changes)
    if isinstance(recipe, Mapping):
        return make_recipe(dict(recipe), changes)
    if not isinstance(recipe, str | Path):
        raise UserError(
            f"recipe = {recipe!r:.80} is not a valid recipe: give a TOML file, the name of one that comes with r1zero, "
            "nested mappings or a Recipe."
        )
    if _is_run(recipe, resume):
        raise UserError(f"{recipe} is a directory, not a recipe; to continue the run there, give resume=True.")
    return named(Recipe, path_of(recipe), changes)


def _is_run(recipe: object, resume: bool) -> bool:
    """Tell whether what is given as a recipe is a folder."""
    return isinstance(recipe, str | Path) and is_folder(path_of(recipe), resume=resume)


def dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by their dotted names. Raises UserError for one that is of no section."""
    for name in settings:
        section = name.partition(".")[0]
        if section not in Recipe.model_fields:
            meant = [key for key in _known() if key.rpartition(".")[2] == name]
            hint = f'**{{"{meant[0]}": …}}' if meant else 'a dotted name, such as **{"train.steps": 20}'
            raise UserError(f"{name}= is not a parameter of train, and not a setting's whole name: write {hint}.")
    return flattened(settings)


def _known() -> list[str]:
    """List the dotted names of all settings."""
    return [
        f"{section}.{key}"
        for section, field in Recipe.model_fields.items()
        for kind in (field.annotation, *get_args(field.annotation))
        if isinstance(kind, type) and issubclass(kind, Section)
        for key in kind.model_fields
    ]
