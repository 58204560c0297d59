"""The sections that name question sets: to train on, one or several, and to evaluate on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from r1zero.config.section import Keeps, Section


class SourceSettings(Section):
    """One of several sets of training questions: a table `[[questions]]`."""

    name: str
    """As `questions.name`."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of what is asked, beside the other sources' weights: 3 and 1 are three questions in four."""
    question_column: str | None = None
    """The column of the question's text, where the set is not of the catalogue; None finds the usual names."""
    answer_column: str | None = None
    """The column of the right answers; None finds the usual names."""
    split: str | None = None
    """The split to take; None takes the catalogue's, or the only one."""
    limit: int | None = Field(default=None, ge=1)
    """The first so many questions of the set; None takes all."""
    where: str | None = None
    """Which rows to take, such as `level >= 3 and source in ["amc", "aime"]` (docs/questions.md); None takes all."""
    data_dir: str | None = None
    """A folder to look for this source in; None looks where the run's sets are looked for."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """The bound of this source's prompts; None takes the run's."""
    options: dict[str, Any] = Field(default_factory=dict)
    """As `questions.options`."""


class QuestionsSettings(Section):
    """The training questions: one set, or several as `[[questions]]`, one table each."""

    name: Annotated[str, Keeps.PLACE]
    """A catalogue name, a file, a `save_to_disk` folder, a Hub name (`owner/name`, `owner/name:config`), `arithmetic`,
    or `reasoning-gym:NAME`."""
    question_column: str | None = None
    """The column that holds the questions, texts or lists of turns; dotted where it is inside another."""
    answer_column: str | None = None
    """The column that holds the gold answers, such as `reward_model.ground_truth`; of a `solution` its marked final
    answer is taken."""
    split: str | None = None
    """The split to take; None takes the catalogue's, or the only one."""
    limit: int | None = Field(default=None, ge=1)
    """Keep the first questions only, of those that `where` takes."""
    where: str | None = None
    """Which rows to take, such as `level >= 3 and source in ["amc", "aime"]` (docs/questions.md)."""
    data_dir: Annotated[str | None, Keeps.BOTH] = None
    """A folder to look for question sets in, benchmarks too (`--data-dir`); then comes $R1ZERO_DATA, then the Hub."""
    max_prompt_tokens: int = Field(default=1024, ge=1)
    """Longer prompts are left out, counted and logged; never cut."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of a generated set, such as `level` and `style` of `arithmetic`; `config` and `revision` of the Hub."""
    sources: Annotated[tuple[SourceSettings, ...] | None, Keeps.PLACE] = None
    """Several sets instead of one; `[[questions]]` is short for `[[questions.sources]]`. What is of the run, `data_dir`
    and `max_prompt_tokens`, may stand in `[questions]` above them, and in every source."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, data: Any) -> Any:
        return _named_by_sources(data) if isinstance(data, Mapping) and data.get("sources") else data

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt that any source may ask."""
        stated = [each.max_prompt_tokens for each in self.sources or ()]
        return max((each or self.max_prompt_tokens for each in stated), default=self.max_prompt_tokens)

    @property
    def each(self) -> tuple[QuestionsSettings | SourceSettings, ...]:
        """The settings of every set: of the one, or of all sources."""
        return self.sources or (self,)


_OF_ONE_SET = ("name", "question_column", "answer_column", "split", "limit", "where", "options")


def _named_by_sources(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of several sources, to which nothing of one set applies. Raises ValueError."""
    for key in _OF_ONE_SET:
        if data.get(key):
            several = len(data["sources"])
            raise ValueError(
                f"questions.{key} = {data[key]!r} is of one set, and this recipe mixes {several}: write it "
                f"in a source (--questions.sources.0.{key} for the first), or leave it out"
            )
    return {**data, "name": ""}


class BenchmarkSettings(Section):
    """One set to evaluate on."""

    name: str
    """A catalogue name, a file, a `save_to_disk` folder, a Hub name, or `arithmetic`."""
    question_column: str | None = None
    """As in [questions]."""
    answer_column: str | None = None
    """As in [questions]."""
    split: str | None = None
    """As in [questions]."""
    limit: int | None = Field(default=None, ge=1)
    """The first so many questions of the set; None takes all."""
    where: str | None = None
    """Which rows to take, such as `level >= 3 and source in ["amc", "aime"]` (docs/questions.md); None takes all."""
    options: dict[str, Any] = Field(default_factory=dict)
    """As in [questions]."""
