"""Question → prompt text, stop strings and answer format: one frozen object for training, evaluation and analysis.

A template is an experimental variable (a base model's accuracy swings by tens of points with it), so everything that
belongs to it stands in one record with one hash, which runs save. Prompts are made by concatenation, never by
`str.format`, so braces in questions are safe.

`render` gives the whole prompt text and adds no beginning-of-sequence token: whoever encodes it adds the tokenizer's,
unless the text already starts with it (many chat templates write it themselves), so that it stands there once.
"""

from r1zero.templates.jinja import JINJA_SUFFIXES, from_jinja
from r1zero.templates.table import DEMONSTRATIONS, chat, few_shot, get_template, template_names, texts_of
from r1zero.templates.template import Template

__all__ = [
    "DEMONSTRATIONS",
    "JINJA_SUFFIXES",
    "Template",
    "chat",
    "few_shot",
    "from_jinja",
    "get_template",
    "template_names",
    "texts_of",
]
