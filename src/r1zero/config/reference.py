"""The page `docs/settings.md`: every setting of both kinds of recipe, printed from `settings_of`.

python -m r1zero.config.reference > docs/settings.md    # a test compares
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel

from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.recipe import Recipe
from r1zero.config.settings import REQUIRED, RESUMING, UNSET, Setting, by_section

_HEAD = """\
# Settings

Every setting of a recipe, printed from `src/r1zero/config` by `python -m r1zero.config.reference > docs/settings.md`.

```sh
r1zero settings schedule             # those with a word in their name or meaning
r1zero settings --pretrain           # of pretraining recipes
r1zero recipe list                   # the recipes that come with r1zero
r1zero recipe show demo              # one of them
r1zero recipe init mine.toml         # a recipe to begin with (--from NAME: a copy of that one)
r1zero recipe check mine.toml        # everything that is wrong with it, and what it amounts to
r1zero recipe diff mine.toml demo    # by setting, defaults resolved
r1zero --install-completion bash     # commands, options, recipes and settings by the Tab key; zsh, fish
```

In a file a setting stands in its section; on the command line it is `--section.key VALUE`, where VALUE is TOML:
`--learner.betas '[0.9, 0.99]'`, `--evaluation.benchmarks '[{ name = "math500" }]'`. A list of tables is given whole.

A recipe's name alone (`r1zero train demo`) is the recipe that comes with r1zero, whatever lies in the current folder
under that name; with a folder or `.toml` (`./demo`, `demo.toml`) it is a path. With `--resume` a run directory of that
name comes first.

**Editors.** `r1zero recipe init` writes a first line `#:schema …`, by which editors that know it (taplo, Even Better
TOML) complete and check settings; `r1zero recipe schema` prints the schema, which lies beside the package's recipes.

"""


def page() -> str:
    """Return the page."""
    lines = [
        _HEAD + "The column *resuming* says what `--resume` may change (docs/resuming.md):",
        "",
        *(f"- **{word}**: {text}." for word, text in RESUMING.items()),
        "",
        *_chapter("Training", "train", Recipe),
        *_chapter("Pretraining", "pretrain", PretrainRecipe),
    ]
    return re.sub(r"(?<!> )docs/(\w+)\.md", r"[\1](\1.md)", "\n".join(lines)).rstrip() + "\n"


def _chapter(title: str, command: str, kind: type[BaseModel]) -> Iterator[str]:
    yield from (f"## {title}", "", f"`r1zero {command}`.", "")
    for section, settings in by_section(kind):
        yield from _heading(section)
        yield from ("| setting | type | default | bounds | resuming | meaning |", "|---|---|---|---|---|---|")
        for each in settings:
            cells = (f"`{each.key}`", each.type, _default(each), each.bounds, each.resuming, each.meaning)
            yield f"| {' | '.join(map(_cell, cells))} |"
        yield ""


def _heading(section: Setting) -> Iterator[str]:
    yield from (f"### `{section.key}`, a list of tables" if section.is_list else f"### `[{section.key}]`", "")
    optional = " The section may be left out." if section.default == UNSET else ""
    yield from (section.meaning + optional, "")


def _default(setting: Setting) -> str:
    return setting.default if setting.default in (REQUIRED, UNSET) else f"`{setting.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
