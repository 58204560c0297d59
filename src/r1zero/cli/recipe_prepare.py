"""`r1zero recipe prepare`: what recipes of the package name, made in the current folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_DEMO, _PAPER, _ARITHMETIC = Path("runs/demo"), Path("runs/paper"), Path("models/arithmetic-base")
_MINIATURE_BASE = _PAPER / "bases" / "qa-31"


def _questions(out: Path) -> list[Path]:
    from r1zero.paper.base_model import WORLD_SEED
    from r1zero.paper.miniature import WORLD
    from r1zero.paper.world import write_questions
    from r1zero.runs.files import writing

    made = []
    for name in ("wide", "test"):
        path = out / WORLD / f"{name}.questions.jsonl"
        if not path.is_file():
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_questions(path.parent, name, WORLD_SEED)
            made.append(path)
    return made


def _demo() -> list[Path]:
    from r1zero.paper.base_model import BASE, copy_shipped

    made = _questions(_DEMO)
    if not (_DEMO / BASE).exists():
        copy_shipped(_DEMO / BASE)
        made.append(_DEMO / BASE)
    return made


def _arithmetic() -> list[Path]:
    from r1zero.pretrain.sums import make_base_model

    if _ARITHMETIC.exists():
        return []
    make_base_model(_ARITHMETIC, 0)
    return [_ARITHMETIC]


def _miniature_pretrain() -> list[Path]:
    from r1zero.paper.base_model import pretraining
    from r1zero.paper.miniature import WORLD

    world = _PAPER / WORLD
    before = {path for path in (world / "shape", world / "qa.jsonl") if path.exists()}
    pretraining(_PAPER, 0)
    return [path for path in (world / "shape", world / "qa.jsonl") if path not in before]


def _miniature() -> list[Path]:
    from r1zero.config import read_recipe
    from r1zero.config.pretrain import PretrainRecipe
    from r1zero.pretrain.run import pretrain_run

    made = [*_miniature_pretrain(), *_questions(_PAPER)]
    recipe = read_recipe("miniature-pretrain", PretrainRecipe, {"train.seed": 31})
    if not (_MINIATURE_BASE / "checkpoints" / f"step-{recipe.train.steps:06d}").exists():
        pretrain_run(recipe, _MINIATURE_BASE, resume=True)
        made.append(_MINIATURE_BASE)
    return made


PREPARED: dict[str, Callable[[], list[Path]]] = {
    "arithmetic": _arithmetic,
    "demo": _demo,
    "miniature": _miniature,
    "miniature-pretrain": _miniature_pretrain,
}


def prepare_recipe(name: str) -> list[Path]:
    """Make what is missing, and return it. Raises UserError where it cannot be written."""
    return PREPARED[name]()
