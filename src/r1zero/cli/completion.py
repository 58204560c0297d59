"""`r1zero --install-completion`, and what the shell then asks at each press of the Tab key.

A shell's script knows nothing: it calls `r1zero __complete WORDS…`, so it is never out of date. Settings are read off
the schema beside the package's recipes, which takes no pydantic.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r1zero.cli.app import app
from r1zero.cli.console import make_console, say
from r1zero.errors import UserError

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument

Shell = Literal["bash", "zsh", "fish"]
ASK = "__complete"
"""The word in front of a command line that is to be completed."""
FILES = ":files"
"""The answer that asks the shell for its own files, too."""
_RECIPE_FOLDER = Path(str(resources.files("r1zero") / "recipes"))
_SCHEMAS = {"train": "recipe", "doctor": "recipe", "pretrain": "pretrain"}
_RECIPES = {"train", "pretrain", "show", "check", "diff", "prepare"}
"""Commands that take a recipe."""
_RECIPE_OPTIONS = ("--recipe", "--from", "--invariance")

_BASH = """\
# r1zero's completion for bash, written by `r1zero --install-completion bash`.
_r1zero() {
  local cur="${COMP_WORDS[COMP_CWORD]}" program="${COMP_WORDS[0]}" line files=""
  type -P "$program" >/dev/null 2>&1 || program=r1zero
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then files=1; else COMPREPLY+=("$line"); fi
  done < <("$program" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ ${COMPREPLY[0]} == *. ]]; then compopt -o nospace 2>/dev/null; fi
  if [[ -n $files ]]; then
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then compopt -o filenames 2>/dev/null; fi
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
  fi
}
complete -F _r1zero r1zero
"""
_ZSH = """\
#compdef r1zero
# r1zero's completion for zsh, written by `r1zero --install-completion zsh`.
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_r1zero() {
  local line files=""
  local -a sections others
  while IFS= read -r line; do
    case $line in
      :files) files=1 ;;
      *.) sections+=("$line") ;;
      *) others+=("$line") ;;
    esac
  done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( $#sections )) && compadd -S '' -a sections
  (( $#others )) && compadd -a others
  [[ -n $files ]] && _files
}
compdef _r1zero r1zero
"""
_FISH = """\
# r1zero's completion for fish, written by `r1zero --install-completion fish`.
function __r1zero_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (r1zero __complete $words[2..-1] 2>/dev/null)
        if test "$line" = ':files'
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c r1zero -f -a '(__r1zero_complete)'
"""
_SCRIPTS: Mapping[Shell, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@app.command(name="--install-completion")
def install_completion(shell: Shell | None = None, /) -> None:
    """Have the Tab key complete commands, options, recipes and settings.

    Writes a script into your home and, for bash and zsh, a line that loads it into ~/.bashrc or ~/.zshrc.

    Parameters
    ----------
    shell
        The shell; that of $SHELL by default.
    """
    from r1zero.runs.files import write_text, writing

    kind = shell or _own_shell()
    script, start = _places(kind)
    with writing(script):
        script.parent.mkdir(parents=True, exist_ok=True)
        write_text(script, _SCRIPTS[kind])
    said = f"written: {script}"
    if start is not None:
        line = f'[ -f "{script}" ] && . "{script}"'
        with writing(start):
            before = start.read_text(encoding="utf-8", errors="surrogateescape") if start.exists() else ""
            if line not in before.splitlines():
                with start.open("a", encoding="utf-8") as file:
                    file.write(f"{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n")
                said += f", and a line in {start} that loads it"
    say(make_console(), f"{said}; it works in the next shell that you open", whole=True)


def _own_shell() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    for kind in _SCRIPTS:
        if name == kind:
            return kind
    raise UserError(f"$SHELL is {name!r}, and completion is for {', '.join(_SCRIPTS)}: add one of these words.")


def _places(shell: Shell) -> tuple[Path, Path | None]:
    """Return where a shell's script lies, and which file loads it, where none does by itself."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    match shell:
        case "bash":
            return data / "bash-completion" / "completions" / "r1zero", home / ".bashrc"
        case "zsh":
            return data / "r1zero" / "completion.zsh", Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
        case _:
            return settings / "fish" / "completions" / "r1zero.fish", None


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last of a command line's words may become, FILES among it; the program's own name is left out."""
    *before, current = words or [""]
    command, chain, rest = _command(before)
    found = _found(command, chain, rest, current)
    return list(dict.fromkeys(each for each in found if each == FILES or each.startswith(current)))


def _command(words: Sequence[str]) -> tuple[App, tuple[str, ...], list[str]]:
    """Return the command that words lead to, its names, and the words behind it."""
    here, chain = app, ()
    for i, word in enumerate(words):
        if word.startswith("-") or word not in list(here):
            return here, chain, list(words[i:])
        here, chain = here[word], (*chain, word)
    return here, chain, []


def _found(command: App, chain: tuple[str, ...], rest: Sequence[str], current: str) -> Iterator[str]:
    inner = [name for name in command if not name.startswith("-")]
    if inner and not rest:
        yield from (name for name in command if name.startswith("-") == current.startswith("-"))
        return
    arguments = _arguments(command)
    options = {name: each for each in arguments for name in each.names if name.startswith("-")}
    last = rest[-1] if rest else ""
    schema = _SCHEMAS.get(chain[0]) if chain else None
    if current.startswith("-"):
        yield from options
        yield "--help"
        if schema:
            yield from _settings(schema, current)
    elif last in options and not _is_flag(options[last]):
        yield from options[last].get_choices() or (*(_names("") if last in _RECIPE_OPTIONS else ()), FILES)
    elif schema and last.startswith("--") and "." in last:
        yield from _values(schema, last.removeprefix("--")) or [FILES]
    else:
        yield from _words(chain)


def _arguments(command: App) -> list[Argument]:
    return [each for each in command.assemble_argument_collection() if each.show] if command.default_command else []


def _is_flag(argument: Argument) -> bool:
    return argument.field_info.annotation is bool or argument.parameter.negative == ()


def _words(chain: tuple[str, ...]) -> Iterator[str]:
    """Return what a command takes beside options."""
    if chain[-1:] == ("settings",):
        for name in ("recipe", "pretrain"):
            for section, keys in _schema(name).items():
                yield from (section, *keys)
    elif chain and chain[-1] in _RECIPES:
        yield from (*_names(chain[-1]), FILES)
    else:
        yield FILES


def _names(command: str) -> list[str]:
    """Return the recipes of the package that a command takes: by their files, for `config` would load pydantic."""
    names = sorted(path.stem for path in _RECIPE_FOLDER.glob("*.toml"))
    if command not in ("train", "pretrain"):
        return names
    return [name for name in names if name.endswith("-pretrain") == (command == "pretrain")]


def _settings(schema: str, current: str) -> Iterator[str]:
    """Return sections (`--learner.`), and once one stands there its settings."""
    for section, keys in _schema(schema).items():
        if current.startswith(f"--{section}."):
            yield from (f"--{section}.{key}" for key in keys)
        else:
            yield f"--{section}."


def _values(schema: str, setting: str) -> list[str]:
    """Return the values that a setting chooses from."""
    section, _, key = setting.partition(".")
    values = _schema(schema).get(section, {}).get(key, {})
    choice = ["true", "false"] if values.get("type") == "boolean" else values.get("enum", [])
    return [str(each) for each in choice]


def _schema(name: str) -> dict[str, dict[str, Any]]:
    """Return section → setting → its schema, references resolved, from the file beside the package's recipes."""
    whole = json.loads((_RECIPE_FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        found = whole["$defs"].get(str(node.get("$ref", "")).rpartition("/")[2], {})
        for each in (*node.get("anyOf", ()), *([node["items"]] if isinstance(node.get("items"), dict) else ())):
            found = found or resolved(each)
        return found or node

    sections = {key: resolved(node).get("properties", {}) for key, node in whole["properties"].items()}
    return {key: {name: resolved(each) for name, each in inside.items()} for key, inside in sections.items()}
