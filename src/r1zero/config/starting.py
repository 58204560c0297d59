"""A recipe to begin with: what has to be said, and every other setting as a comment with its default and meaning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from r1zero.config import shipped
from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.recipe import Recipe
from r1zero.config.schema import FILES
from r1zero.config.settings import UNSET, Setting, by_section

_SET: dict[type[BaseModel], dict[str, str]] = {
    Recipe: {
        "model.path": '"Qwen/Qwen2.5-1.5B"',
        "questions.name": '"math-12k"',
        "train.steps": "100",
        "rollout.prompts": "128",
        "rollout.samples": "8",
        "objective.name": '"dr_grpo"',
        "learner.updates": "8",
        "learner.learning_rate": "1e-6",
        "evaluation.benchmarks": '[{ name = "math500" }]',
    },
    PretrainRecipe: {
        "model.path": '"Qwen/Qwen2.5-1.5B"',
        "corpus.name": '"texts.jsonl"',
        "corpus.text_column": '"text"',
        "train.steps": "1000",
    },
}
"""What a starting recipe says; all else is a comment."""


def schema_line(kind: type[BaseModel]) -> str:
    """Return the first line by which an editor finds the schema that came with this installation."""
    (file,) = [name for name, each in FILES.items() if each is kind]
    return f"#:schema {(shipped.folder() / file).as_uri()}\n"


def starting_recipe(kind: type[BaseModel]) -> str:
    """Return a commented recipe of a kind."""
    command = "pretrain" if kind is PretrainRecipe else "train"
    head = [
        f"# A recipe for `r1zero {command}`. A setting behind # has its default; take the # away to say otherwise.",
        "# `r1zero recipe check FILE` tells what is wrong and what it amounts to; `r1zero settings WORD` explains.",
        "",
    ]
    return schema_line(kind) + "\n".join([*head, *_body(kind)]).rstrip() + "\n"


def _body(kind: type[BaseModel]) -> Iterator[str]:
    for section, rows in by_section(kind):
        if section.is_list:
            continue
        optional = section.default == UNSET
        yield from textwrap.wrap(section.meaning, 116, initial_indent="# ", subsequent_indent="# ")
        yield f"# [{section.key}]  # may be left out" if optional else f"[{section.key}]"
        for each in rows:
            yield from _setting(each, _SET[kind].get(each.key), optional)
        yield ""


def _setting(setting: Setting, value: str | None, optional: bool) -> Iterator[str]:
    name = setting.key.rpartition(".")[2]
    facts = "; ".join(filter(None, (setting.type, setting.bounds)))
    yield from textwrap.wrap(f"{setting.meaning} ({facts})", 116, initial_indent="# ", subsequent_indent="# ")
    if value is not None and not optional:
        yield f"{name} = {value}"
    else:
        known = setting.default not in (UNSET, "required")
        yield f"# {name} = {setting.default}" if known else f"# {name} ="


def copied_recipe(path: Path, kind: type[BaseModel]) -> str:
    """Return a copy of a recipe's file under a line for editors."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return schema_line(kind) + "".join(line for line in lines if not line.startswith("#:schema"))
