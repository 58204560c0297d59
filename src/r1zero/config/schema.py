"""The JSON schema of recipes, for editors that complete and check TOML (taplo, Even Better TOML).

    python -m r1zero.config.schema src/r1zero/recipes    # writes both files; a test compares

What a schema cannot say, settings that contradict each other, `r1zero recipe check` says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.recipe import Recipe
from r1zero.config.settings import docstrings, inner_sections

FILES: dict[str, type[BaseModel]] = {"recipe.schema.json": Recipe, "pretrain.schema.json": PretrainRecipe}
"""In the folder of the package's recipes."""
_DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors of TOML know best


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a recipe's kind: pydantic's, with the texts below fields, as TOML needs it."""
    made = kind.model_json_schema()
    classes = {each.__name__: each for each in _classes(kind)}
    for name, definition in ({kind.__name__: made} | made.get("$defs", {})).items():
        texts = docstrings(classes[name]) if name in classes else {}
        for key, text in texts.items():
            if key in definition.get("properties", {}):
                definition["properties"][key]["description"] = text
    return {"$schema": _DRAFT, "title": f"r1zero: {kind.__name__}", **_plain(made)}


def _classes(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield kind
    for field in kind.model_fields.values():
        for some in inner_sections(field.annotation):
            for inner in some:
                yield from _classes(inner)


def _plain(node: Any) -> Any:
    """Return a schema without what TOML has not (null), and what draft 7 has not (prefixItems)."""
    if not isinstance(node, dict):
        return node
    rest = {key: value for key, value in node.items() if key not in ("title", "anyOf", "properties", "$defs")}
    if rest.get("default", 0) is None or isinstance(rest.get("default"), dict):
        del rest["default"]
    if "prefixItems" in rest:
        rest["items"] = [_plain(each) for each in rest.pop("prefixItems")]
    elif "items" in rest:
        rest["items"] = _plain(rest["items"])
    choices = [_plain(each) for each in node.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        rest = choices[0] | rest
    elif choices:
        rest["anyOf"] = choices
    for key in ("properties", "$defs"):
        if key in node:
            rest[key] = {name: _plain(each) for name, each in node[key].items()}
    return rest


def text_of(kind: type[BaseModel]) -> str:
    """Return the schema's file."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, kind in FILES.items():
        (Path(sys.argv[1]) / file).write_text(text_of(kind), encoding="utf-8")
