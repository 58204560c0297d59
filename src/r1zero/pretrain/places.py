"""Where model and corpus of a pretraining run lie, and what they hold: a run goes on with a copy of them anywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from r1zero.config.pretrain import PretrainRecipe
from r1zero.policy.fingerprint import model_fingerprint
from r1zero.runs import checkpoints, moved
from r1zero.runs.begin import Beginning


def located(recipe: PretrainRecipe, beginning: Beginning) -> PretrainRecipe:
    """Return the recipe with every place that its run needs as it is called from here, before anything is loaded.

    Raises:
        UserError: what the run needs is not there, or is not what it was started with, or other settings have changed.
    """
    if beginning.existing is None:
        return recipe
    found = beginning.placed(recipe, ("model.path", "model.revision") if beginning.checkpoint else ())
    facts = content_facts(found, beginning)
    beginning.existing.refuse_changes(found, facts)
    beginning.existing.check_models(found, facts)
    return found


def content_facts(recipe: PretrainRecipe, beginning: Beginning) -> dict[str, Any]:
    """Return the fingerprints of the model, where it is read or said to have moved, and of the corpus, where it is
    local, as far as they are known. Reads all of both, at about 2 s a gigabyte and core.
    """
    facts, settings = {"corpus_fingerprint": corpus_fingerprint(recipe.corpus.name)}, recipe.model
    renamed = moved.renamed(beginning.existing.read_recipe(PretrainRecipe), recipe) if beginning.existing else {}
    found = None
    if beginning.checkpoint is None or {"model.path", "model.revision"} & renamed.keys():
        found = model_fingerprint(settings.path, settings.revision)
    if found is not None and settings.from_scratch:  # its weights are not read
        found = {part: each for part, each in found.items() if part != "weights"}
    return {name: each for name, each in (facts | {"model_fingerprint": found}).items() if each is not None}


def corpus_fingerprint(name: str) -> str | None:
    """Return 16 hex digits of a file, or of the files of a saved folder; None for a Hub name."""
    path = Path(name)
    if path.is_file():
        [held] = checkpoints.checksums(path.parent, [path.name]).values()
        told = f"{path.suffix} {held}"
    elif path.is_dir():
        files = (each for each in path.rglob("*") if each.is_file() and not each.name.startswith("cache-"))
        sums = checkpoints.checksums(path, sorted(str(each.relative_to(path)) for each in files))
        told = "".join(f"{each} {held}\n" for each, held in sums.items())
    else:
        return None
    return hashlib.sha256(told.encode()).hexdigest()[:16]
