"""Templates from users' Jinja files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.errors import UserError, reason, regular
from r1zero.templates.limits import check_constants, limited
from r1zero.templates.template import Template, rendering_errors
from r1zero.types import AnswerFormat

if TYPE_CHECKING:
    import jinja2
    import jinja2.sandbox

JINJA_SUFFIXES = (".jinja", ".j2", ".jinja2")


@dataclass(frozen=True, slots=True)
class Jinja:
    """A user's Jinja template; `from_jinja` checks it."""

    source: str

    def render(self, question_text: str) -> str:
        """Return the template with `question` filled in."""
        with limited():
            return _compiled(self.source).render(question=question_text)

    @property
    def content(self) -> tuple[str, ...]:
        """The template's source."""
        return ("jinja", self.source)


def from_jinja(path: Path) -> Template:
    r"""Return a user's template file, with the one variable `question`.

        {% set stop = ["</answer>"] %}
        {% set answer_format = "answer_tags" %}
        User: {{ question }}
        Assistant: <think>{# #}

    `stop` (a list of strings) and `answer_format` ("boxed", "answer_tags", "last_number", …) are optional; without them
    the response ends at end-of-sequence only and the answer is boxed. The text is kept byte for byte, with two rules:
    the line break right after a `{% … %}` or `{# … #}` is dropped, and Windows line ends become `\n`. A line break at
    the end of the file therefore belongs to the prompt, unless a `{# #}` stands before it, as above.

    Templates run in Jinja's sandbox, and a name that is not `question` is an error, not an empty string.

    Raises:
        UserError: the file is missing or unreadable, its syntax is wrong, it uses another variable or not `question`,
            or `stop` or `answer_format` hold something else; the sentence names the file.
    """
    import jinja2

    try:
        source = regular(path).read_text(encoding="utf-8-sig")
        check_constants(source)  # first: Jinja computes with constants as soon as it compiles
        _check_names(source, path)
        with limited():
            module = _compiled(source).make_module({"question": "1 + 1 = ?"})
    except OSError as error:
        raise UserError(
            f"template.name is {str(path)!r}, which cannot be read ({error.strerror}): mend the path"
        ) from (error)
    except UnicodeDecodeError as error:
        raise UserError(f"the template {path} is not UTF-8: save it as UTF-8") from error
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"the template {path} has a syntax error in line {error.lineno}: {error.message}") from error
    except rendering_errors() as error:
        raise UserError(f"the template {path} fails when it is rendered: {reason(error)}") from error
    stop = _stop_strings(getattr(module, "stop", []), path)
    answer_format = _answer_format(getattr(module, "answer_format", AnswerFormat.BOXED.value), path)
    return Template(path.stem, answer_format, stop, Jinja(source))


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    import jinja2
    import jinja2.sandbox

    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )


@lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    """Compiled once per source and process, so that the `Jinja` record itself stays plain data that can be pickled."""
    return _environment().from_string(source)


def _check_names(source: str, path: Path) -> None:
    """Tell whether `question` and nothing else is read, in all branches, before any of it runs."""
    from jinja2 import meta

    environment = _environment()
    tree = environment.parse(source)
    if list(meta.find_referenced_templates(tree)):
        raise UserError(f"the template {path} includes or extends another file: write it as one file")
    names = meta.find_undeclared_variables(tree)
    unknown = sorted(names - {"question"} - set(environment.globals))
    if unknown:
        raise UserError(f"the template {path} uses {', '.join(unknown)}, but the only variable is {{{{ question }}}}")
    if "question" not in names:
        raise UserError(f"the template {path} never uses {{{{ question }}}}: every prompt would be the same")


def _stop_strings(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise UserError(f'the template {path} sets stop to {value!r}: write a list of strings, such as ["</answer>"]')
    return tuple(value)


def _answer_format(value: object, path: Path) -> AnswerFormat:
    known = [each.value for each in AnswerFormat]
    if value not in known:
        raise UserError(f"the template {path} sets answer_format to {value!r}: set it to one of {', '.join(known)}")
    return AnswerFormat(str(value))
