"""The two rubrics (PAPER.md 2.8 in meaning; every word of the prompts is ours) and how their answers are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """What is judged: a response, with its question."""

    question: str
    response: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The class of a response and why; `label` is None where there is none, and `reason` then says what came instead.

    `refused` marks a response that the endpoint would not take (too long, filtered), apart from an answer that could
    not be read.
    """

    label: int | None
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Rubric:
    """Classes by number, and the words in which a language model is asked for one."""

    name: str
    classes: Mapping[int, str]
    instructions: str
    max_tokens: int
    positive: int
    """The class that the analysis counts."""

    def messages(self, item: Item) -> list[dict[str, str]]:
        """Return the conversation that asks for a judgement of `item`."""
        classes = "\n".join(f"{number} = {meaning}" for number, meaning in self.classes.items())
        system = (
            f"{self.instructions}\n\nClasses:\n{classes}\n\nGive one short sentence of reason. Then end with a line "
            f"that holds nothing but CLASS: and the number, for example CLASS: {min(self.classes)}"
        )
        user = (
            f"### Prompt given to the model\n{item.question}\n\n### What the model wrote after it\n{item.response}\n\n"
            "### End. Which class?"
        )
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]

    def parse(self, text: str) -> int | None:
        """Return the class that the last line names, exactly as asked for; None for anything else."""
        lines = text.strip().splitlines()
        match = re.fullmatch(r"\W{0,3}CLASS:\s*(\d)\W{0,3}", lines[-1].strip()) if lines else None
        number = int(match[1]) if match else None
        return number if number in self.classes else None


ANSWERING = Rubric(
    "answering",
    {
        0: "does not try to answer: goes on with the question's text, asks another, rambles or repeats itself",
        1: "tries to answer the question, whether or not the answer is right or complete",
    },
    "You read what a language model wrote after a mathematical question, and decide whether it set out to answer. "
    "A wrong, clumsy or unfinished attempt is an attempt. Do not solve the question yourself.",
    100,
    1,
)
REFLECTION = Rubric(
    "reflection",
    {
        0: "no use: off the subject, incoherent, or repeating itself without any reasoning",
        1: "reasons about the question or answers it, and never looks back at its own reasoning",
        2: "looks back at its own reasoning at least once: re-does or checks a step or the result, doubts an "
        "assumption, corrects itself, or turns to another approach because of such a doubt, in whatever words",
        3: "is a program and nothing else, without looking back",
    },
    "You read what a language model wrote after a mathematical question, and decide whether it reflects on its own "
    "reasoning. Class 2 goes before all others, also where the result is wrong. Words such as recheck, reconsider, "
    "re-evaluate or double-check are a hint only: they count where the model speaks of its own reasoning, not where "
    "they belong to the question's story. Do not solve the question yourself.",
    300,
    2,
)
RUBRICS = {rubric.name: rubric for rubric in (ANSWERING, REFLECTION)}
