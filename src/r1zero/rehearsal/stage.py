"""Where a rehearsal takes place: the folder of its stand-ins, and what it tells before the first step."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from r1zero.config import Recipe
from r1zero.config.load import make_recipe
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.plan.context import fit_of
from r1zero.questions import CATALOGUE, load_questions
from r1zero.rehearsal.disk import disk_note
from r1zero.rehearsal.scale import Changes, pretraining_changes, training_changes
from r1zero.rehearsal.sets import corpus_file, cut_corpus, cut_sets
from r1zero.rehearsal.stand_in import make_stand_in, stands_for_itself
from r1zero.runs.files import write_text, writing
from r1zero.templates import get_template
from r1zero.trackers import check_sinks

_VOCABULARY = ("r1", "qwen_math", "prime_zero", "open_reasoner_zero")
"""Templates whose texts are in a stand-in's vocabulary, beside the questions."""

AnyRecipe = Recipe | PretrainRecipe


@dataclass(frozen=True, slots=True)
class Stage:
    """The folder of a rehearsal's stand-ins: `models/`, `data/`, `corpora/`. What is in it stays when it goes on."""

    folder: Path

    @property
    def data(self) -> Path:
        """The data folder: a few rows of every known set."""
        return self.folder / "data"

    def model(self, path: str) -> str:
        """Return what stands for a model: a folder with the last part of its name."""
        return path if stands_for_itself(path) else str(self.folder / "models" / Path(path).name)

    def mark(self, recipes: Mapping[str, Any]) -> str:
        """Return what tells recipes, and how they are rehearsed, from others: 16 hex digits."""
        here = resources.files("r1zero.rehearsal").iterdir()
        code = [each.read_bytes() for each in sorted(here, key=lambda each: each.name) if each.is_file()]
        plain = json.dumps(recipes, sort_keys=True).encode()
        return hashlib.sha256(b"\0".join([plain, *code])).hexdigest()[:16]

    def changes(self, recipe: AnyRecipe) -> Changes:
        """Return what a rehearsal changes in a recipe, as dotted settings."""
        models = {name: self.model(name) for name in models_of(recipe)}
        if isinstance(recipe, Recipe):
            return training_changes(recipe, models, self.data)
        return pretraining_changes(recipe, models, corpus_file(recipe.corpus, self.folder / "corpora"))

    def rehearsed(self, recipe: Recipe) -> Recipe:
        """Return a training recipe as it is rehearsed."""
        return make_recipe(recipe.model_dump(), self.changes(recipe), "the rehearsal")

    def build(self, recipes: Iterable[AnyRecipe], data_dir: Path | None = None) -> list[str]:
        """Make what is not there yet of the stand-ins for recipes; returns what a reader must know of them.

        Raises:
            UserError: a model, a corpus or a package that a recipe names is not to be had.
        """
        recipes = list(recipes)
        for recipe in recipes:
            check_sinks(recipe.log.sinks)
        trainings = [recipe for recipe in recipes if isinstance(recipe, Recipe)]
        sets = {name: data_dir for recipe in trainings for name in sets_of(recipe)}
        sources = [each for recipe in trainings for each in recipe.questions.sources or ()]
        sets |= {each.name: Path(each.data_dir) for each in sources if each.data_dir}
        made_up = cut_sets(sets, self.data)
        models = sorted({name for recipe in recipes for name in models_of(recipe)})
        for name in models:
            folder = Path(self.model(name))
            if not folder.exists():
                make_stand_in(name, _revision(name, recipes), self._texts(sets), folder)
        for recipe in recipes:
            if isinstance(recipe, PretrainRecipe):
                cut_corpus(recipe.corpus, self.folder / "corpora")
        return [f"rows made up, as the set is not here: {', '.join(made_up)}"] if made_up else []

    def remove(self) -> None:
        """Remove the stand-ins, and what is told of them."""
        for name in ("models", "data", "corpora"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / MARK).unlink(missing_ok=True)

    def fit(self, recipe: Recipe) -> tuple[str, ...]:
        """Tell how the rows fit into the model's context with the recipe's own budgets. Raises UserError."""
        place = {"model.path": self.model(recipe.model.path), "model.revision": None}
        cut = self.changes(recipe)
        sets = {key: cut[key] for key in cut if key.startswith("questions.") or key == "evaluation.benchmarks"}
        return fit_of(make_recipe(recipe.model_dump(), {**place, **sets}, "the rehearsal"))

    def _texts(self, sets: Iterable[str]) -> list[str]:
        asked = [
            question.text for name in sorted(sets) if name in CATALOGUE
            for question in load_questions(name, data_dir=self.data)
        ]  # fmt: skip
        return [*asked, *(get_template(name).render("1 + 1") for name in _VOCABULARY)]


MARK = "rehearsal.json"
"""What a rehearsal's folder is known by."""


def rehearsal_of(recipe: Recipe, folder: Path, *, resume: bool) -> tuple[Recipe, list[str]]:
    """Return a training recipe as it is rehearsed, and what it tells; its stand-ins are made in `folder`.

    An earlier rehearsal there is gone on with (`resume`), or removed.

    Raises:
        UserError: the folder holds something else, or something that the recipe names is not to be had.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise UserError(f"{folder} holds something else than a rehearsal; choose another --out.")
    stage, data_dir = Stage(folder), recipe.questions.data_dir
    with writing(folder):
        if not resume and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MARK, recipe.model_dump_json(indent=2) + "\n")
    try:
        notes = stage.build([recipe], Path(data_dir) if data_dir else None)
        notes += [f"of the rows tried, by the stand-in's tokenizer: {note}" for note in stage.fit(recipe)]
    except UserError:
        if not resume:  # nothing was rehearsed there
            shutil.rmtree(folder, ignore_errors=True)
        raise
    notes += [disk_note({"the run": recipe}, folder)]
    return stage.rehearsed(recipe), [*filter(None, notes), *unrehearsed(recipe)]


def unrehearsed(recipe: Recipe) -> list[str]:
    """Tell what of a recipe no stand-in on a CPU tries."""
    left_out = ["vLLM"] if recipe.sampling.engine == "vllm" else []
    left_out += ["the cluster"] if recipe.cluster is not None else []
    told = [f"not rehearsed: {' and '.join(left_out)}; one process samples and learns"] if left_out else []
    asked = (*recipe.questions.each, *recipe.evaluation.benchmarks)
    told += [f"not rehearsed: where = {e.where!r} of {e.name}, of which few rows are here"
             for e in asked if e.where and e.name in CATALOGUE]  # fmt: skip
    judges = [each.called for each in recipe.reward if each.use == "judge"]
    return told + [f"not rehearsed, but asked, and paid: the judge of the reward {name}" for name in judges]


def sets_of(recipe: Recipe) -> list[str]:
    """Return the names of a recipe's question sets."""
    return [each.name for each in (*recipe.questions.each, *recipe.evaluation.benchmarks)]


def models_of(recipe: AnyRecipe) -> list[str]:
    """Return the names of a recipe's models."""
    reference = recipe.objective.reference if isinstance(recipe, Recipe) else None
    return [name for name in (recipe.model.path, reference) if name]


def _revision(name: str, recipes: Iterable[AnyRecipe]) -> str | None:
    return next((recipe.model.revision for recipe in recipes if recipe.model.path == name), None)
