"""What every page has in common: its assets stand in it, it loads nothing, and no text in it can become markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from r1zero import __version__
from r1zero.errors import HIDDEN, plural, shown
from r1zero.report.draw import svg
from r1zero.report.draw.numbers import number, percent, rate, signed

_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_HIDDEN = re.compile(f"([{HIDDEN}])")  # the browser of responses has the same list


def render_page(template: str, scripts: Sequence[str], data: Mapping[str, object], **context: object) -> str:
    """Return a template of `base.html` as a page, with the theme's and these scripts, and their data by element id."""
    script = "\n".join(map(_read, ("theme.js", *scripts)))
    style = _read("page.css")
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            data=[(name, script_json(each)) for name, each in data.items()],
            policy=_policy(script, style),
            script=Markup(script),
            style=Markup(style),
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=__version__,
        )
    )


def script_json(data: object) -> Markup:
    """Return data as JSON that can stand in a script element: no character of it ends one, or begins markup."""
    return Markup(json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_SAFE))


def visible(text: str) -> Markup:
    """Return text of a model, escaped, with the characters that do not show named: they could turn a line around."""
    named = Markup('<span class="ctl" title="a character that does not show">U+{:04X}</span>')
    return by_turns(_HIDDEN.split(text), lambda character: named.format(ord(character)))


def code(sentence: str) -> Markup:
    """Set as code what stands between `backticks` in a sentence."""
    return by_turns(sentence.split("`"), Markup("<code>{}</code>").format)


def by_turns(parts: Sequence[str], set_otherwise: Callable[[str], Markup]) -> Markup:
    """Join parts of a text of which every second is set otherwise than as plain text."""
    return Markup("").join(set_otherwise(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, loader=jinja2.FunctionLoader(_read),
                                     finalize=_shown)  # fmt: skip
    environment.filters |= {"number": number, "percent": percent, "rate": rate, "signed": signed, "plural": plural,
                            "visible": visible, "code": code}  # fmt: skip
    environment.globals |= {"svg": svg}
    return environment


def _shown(value: object) -> object:
    """Whatever a template prints: names, settings and notes of a run are as foreign as its responses."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(file: str) -> str:
    return (resources.files("r1zero.report") / "assets" / file).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Return a content security policy: nothing is loaded, and no script runs but the page's own."""
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return f"default-src 'none'; script-src 'sha256-{sums[0]}'; style-src 'sha256-{sums[1]}'; img-src data:"
