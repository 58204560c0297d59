"""`r1zero recipe prepare`: what recipes of the package name, made in the current folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_DEMO, _PAPER, _ARITHMETIC = Path("runs/demo"), Path("runs/paper"), Path("models/arithmetic-base")
_MINIATURE_BASE = _PAPER / "bases" / "qa-31"


Told = Callable[[str], None]
"""Is told how far long work is."""
_EVERY = 100


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


def _demo(told: Told) -> list[Path]:
    from r1zero.paper.base_model import BASE, copy_shipped

    del told  # it takes a moment
    made = _questions(_DEMO)
    if not (_DEMO / BASE).exists():
        copy_shipped(_DEMO / BASE)
        made.append(_DEMO / BASE)
    return made


def _arithmetic(told: Told) -> list[Path]:
    from r1zero.pretrain.sums import PRETRAIN_STEPS, make_base_model

    def watch(step: int, loss: float) -> None:
        if step % _EVERY == 0:
            told(f"pretraining {_ARITHMETIC}: step {step} of {PRETRAIN_STEPS}, loss {loss:.3f}")

    if _ARITHMETIC.exists():
        return []
    make_base_model(_ARITHMETIC, 0, watch=watch)
    return [_ARITHMETIC]


def _miniature_pretrain(told: Told) -> list[Path]:
    from r1zero.paper.base_model import pretraining
    from r1zero.paper.miniature import WORLD

    told(f"writing what a base model reads into {_PAPER / WORLD}")
    world = _PAPER / WORLD
    before = {path for path in (world / "shape", world / "qa.jsonl") if path.exists()}
    pretraining(_PAPER, 0)
    return [path for path in (world / "shape", world / "qa.jsonl") if path not in before]


def _miniature(told: Told) -> list[Path]:
    from r1zero.config import read_recipe
    from r1zero.config.pretrain import PretrainRecipe
    from r1zero.pretrain.run import pretrain_run

    def watch(step: int, total: int, numbers: dict[str, float]) -> None:
        if step % _EVERY == 0:
            told(f"pretraining {_MINIATURE_BASE}: step {step} of {total}, loss {numbers['pretrain/loss']:.3f}")

    made = [*_miniature_pretrain(told), *_questions(_PAPER)]
    recipe = read_recipe("miniature-pretrain", PretrainRecipe, {"train.seed": 31})
    if not (_MINIATURE_BASE / "checkpoints" / f"step-{recipe.train.steps:06d}").exists():
        pretrain_run(recipe, _MINIATURE_BASE, resume=True, watch=watch)
        made.append(_MINIATURE_BASE)
    return made


PREPARED: dict[str, Callable[[Told], list[Path]]] = {
    "arithmetic": _arithmetic,
    "demo": _demo,
    "miniature": _miniature,
    "miniature-pretrain": _miniature_pretrain,
}


def prepare_recipe(name: str, told: Told = lambda said: None) -> list[Path]:
    """Make what is missing, and return it; `told` hears how far it is. Raises UserError where it cannot be written."""
    return PREPARED[name](told)
