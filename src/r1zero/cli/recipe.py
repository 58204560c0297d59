"""`r1zero recipe`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from r1zero.cli.app import Flag, RecipePath, app
from r1zero.cli.console import make_console, say
from r1zero.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from r1zero.config import Recipe
    from r1zero.config.pretrain import PretrainRecipe

recipe = App(name="recipe", help="Recipes: those that come with r1zero, a new one, what is wrong with one, and diffs.")
app.command(recipe)


@recipe.command(name="list")
def list_() -> None:
    """List the recipes that come with r1zero: what each trains, on what, and what it needs.

    Each is taken by its name, such as `r1zero train demo`; those that end in -pretrain by `r1zero pretrain`.
    """
    from rich.table import Table
    from rich.text import Text

    from r1zero.config.check import read_any
    from r1zero.config.shipped import SHIPPED, names

    table = Table(box=None, pad_edge=False, show_header=False)
    for name in names():
        table.add_row(Text(name, no_wrap=True), Text(_trains(read_any(Path(name)))), Text(SHIPPED[name].needs))
    make_console().print(table)


def _trains(found: Recipe | PretrainRecipe) -> str:
    from r1zero.config import Recipe

    if isinstance(found, Recipe):
        batch = f"{found.rollout.prompts} × {found.rollout.samples}"
        steps = f"{found.objective.name}, {found.train.steps} steps of {batch}"
        return f"{found.model.path} on {found.questions.name}: {steps}"
    length = f"{found.train.steps} steps" if found.train.steps else f"{found.train.epochs:g} epochs"
    return f"{found.model.path} on {found.corpus.name}: {length}"


@recipe.command
def show(name: RecipePath, /) -> None:
    """Print a recipe that comes with r1zero, as it is.

    Parameters
    ----------
    name
        Its name (`r1zero recipe list`); or a file.
    """
    from r1zero.config.load import read_sections
    from r1zero.config.shipped import find

    read_sections(name)  # which refuses what is not one
    print(find(name).read_text(encoding="utf-8"), end="")


@recipe.command
def init(
    file: Path = Path("recipe.toml"),
    /,
    *,
    from_: Annotated[RecipePath | None, Parameter(name="--from")] = None,
    pretrain: Flag = False,
    force: Flag = False,
) -> None:
    """Write a recipe to begin with: what has to be said, and all other settings as comments.

    Parameters
    ----------
    file
        Where to write it.
    from_
        Copy that recipe instead: a name (`r1zero recipe list`) or a file.
    pretrain
        A recipe for `r1zero pretrain`.
    force
        Write over a file that is there.
    """
    from r1zero.config.check import kind_of_sections
    from r1zero.config.load import read_sections
    from r1zero.config.pretrain import PretrainRecipe
    from r1zero.config.recipe import Recipe
    from r1zero.config.shipped import find
    from r1zero.config.starting import copied_recipe, starting_recipe
    from r1zero.runs.files import write_new, write_text, writing

    if file.suffix != ".toml":
        raise UserError(f"{file} is not a valid name for a recipe: write one that ends in .toml.")
    if from_ is not None and pretrain:
        raise UserError("--from says what kind of recipe it is; leave --pretrain out.")
    if from_ is None:
        text = starting_recipe(PretrainRecipe if pretrain else Recipe)
    else:
        text = copied_recipe(find(from_), kind_of_sections(read_sections(from_)))
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            (write_text if force else write_new)(file, text)
        except FileExistsError:
            raise UserError(f"{file} is there already: give another name, or --force to write over it.") from None
    say(make_console(), f"written: {file}; `r1zero recipe check {file}` says what it amounts to", whole=True)


@recipe.command
def check(*files: RecipePath) -> None:
    """Say everything that is wrong with recipes, and what they amount to, without training.

    Exit code 1 where something is wrong.

    Parameters
    ----------
    files
        Files, or names of recipes that come with r1zero.
    """
    from r1zero.cli.recipe_check import report

    if not files:
        raise UserError("recipe check needs a recipe: give a file or a name of `r1zero recipe list`.")
    console = make_console()
    faults = [report(console, file) for file in files]
    sys.exit(1 if any(faults) else 0)


@recipe.command
def diff(one: RecipePath, other: RecipePath, /) -> None:
    """List the settings in which two recipes differ, defaults resolved.

    Parameters
    ----------
    one
        A file, a name of `r1zero recipe list`, or a run directory.
    other
        Another.
    """
    from rich.table import Table
    from rich.text import Text

    from r1zero.config import differences
    from r1zero.config.check import read_any
    from r1zero.config.overrides import flattened
    from r1zero.config.settings import UNSET, toml

    pair = read_any(one), read_any(other)
    if type(pair[0]) is not type(pair[1]):
        raise UserError(f"{one} and {other} are recipes of different kinds, training and pretraining: give two of one.")
    flat = [flattened(each.model_dump(mode="json")) for each in pair]
    console = make_console()
    rows = differences(*pair)
    if not rows:
        say(console, f"{one} and {other} say the same.", whole=True)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("setting", str(one), str(other)):
        table.add_column(Text(heading), overflow="fold")
    for key in rows:
        values = [each.get(key) for each in flat]
        table.add_row(Text(key), *(Text(UNSET if value is None else toml(value)) for value in values))
    console.print(table)


@recipe.command
def schema(*, pretrain: Flag = False) -> None:
    """Print the JSON schema of recipes, by which editors complete and check settings.

    Parameters
    ----------
    pretrain
        That of pretraining recipes.
    """
    from r1zero.config.shipped import folder

    file = "pretrain.schema.json" if pretrain else "recipe.schema.json"
    print((folder() / file).read_text(encoding="utf-8"), end="")


@recipe.command
def prepare(name: str, /) -> None:
    """Make what a recipe that comes with r1zero names below `runs/` and `models/`: base models and questions.

    Parameters
    ----------
    name
        The recipe: demo, arithmetic, miniature-pretrain or miniature.
    """
    from r1zero.cli.recipe_prepare import PREPARED, prepare_recipe
    from r1zero.config.shipped import SHIPPED, names

    if name not in PREPARED:
        if name not in names():
            hint = did_you_mean(name, names()) or "`r1zero recipe list` lists them."
            raise UserError(f"{name!r} is not a recipe that comes with r1zero: {hint}".rstrip())
        first = SHIPPED[name].first or "what it names is on the Hub"
        raise UserError(f"There is nothing to prepare for {name} here: {first}.")
    console = make_console()
    made = prepare_recipe(name, lambda said: say(console, said, whole=True))
    told: Sequence[Any] = made or ["nothing: all is there"]
    say(console, f"made: {', '.join(map(str, told))}", whole=True)
