"""The recipe of a pretraining run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from r1zero.config import Keeps, ModelSettings, OptimiserSettings, Section, TrackersSettings


class PretrainModelSettings(ModelSettings):
    """What is trained: a model to continue, or with `from_scratch` one whose config and tokenizer are taken."""

    from_scratch: bool = False
    """Draw all weights at random."""


class CorpusSettings(Section):
    """The documents: texts, or questions with their answers on one line after the other."""

    name: Annotated[str, Keeps.PLACE]
    """A JSON Lines or Parquet file, a `save_to_disk` folder, or a Hub name."""
    config: str | None = None
    """The configuration of a Hub set."""
    split: str = "train"
    """The split of a saved folder or a Hub set."""
    text_column: str | None = None
    """The column of the texts."""
    question_column: str | None = None
    """The column of the questions, in place of `text_column`."""
    answer_column: str | None = None
    """The column of their answers."""
    joint: str = "\n"
    """What stands between a question and its answer."""
    streaming: bool = False
    """Read a Hub set as it comes, without downloading it first: in its own order, shuffled over `buffer` documents."""
    buffer: int = Field(default=10_000, ge=1)
    """Documents that a streamed set is shuffled over."""
    limit: int | None = Field(default=None, ge=1)
    """The first so many documents; None takes all."""

    @model_validator(mode="after")
    def _text_or_pairs(self) -> CorpusSettings:
        pair = self.question_column is not None and self.answer_column is not None
        half = (self.question_column is None) != (self.answer_column is None)
        if half or pair == (self.text_column is not None):
            raise ValueError(
                "corpus needs either corpus.text_column, or corpus.question_column and corpus.answer_column; set one "
                "or the other"
            )
        return self


class PretrainLearnerSettings(OptimiserSettings):
    """How documents become optimiser steps."""

    learning_rate: Annotated[float, Keeps.PAST] = Field(default=1e-5, gt=0)
    schedule: Annotated[Literal["constant", "linear", "cosine"], Keeps.PAST] = "cosine"
    sequence_length: int = Field(default=2048, ge=8)
    """Tokens of a packed row; longer documents go on in the next row."""
    rows: int = Field(default=64, ge=1)
    """Rows of one optimiser step."""
    micro_rows: int = Field(default=4, ge=1)
    """Rows of one forward and backward pass. Changes speed and memory, never the gradient."""


class PretrainCheckpointSettings(Section):
    """When the run is saved, and what is kept."""

    every: int = Field(default=200, ge=1)
    """Optimiser steps between checkpoints; the last one is always saved."""
    keep_last: int = Field(default=2, ge=1)
    """The newest checkpoints that are kept."""


class PretrainEvaluationSettings(Section):
    """Held-out documents: the last ones of the corpus, never trained on."""

    documents: int = Field(default=0, ge=0)
    """How many are held out; 0 holds none out."""
    every: Annotated[int, Keeps.RUN] = Field(default=100, ge=1)
    """Optimiser steps between evaluations."""


class PretrainTrainSettings(Section):
    """The length and the seed of the run: `steps` optimiser steps, or whole `epochs`."""

    steps: Annotated[int | None, Keeps.PAST] = Field(default=None, ge=1)
    """Optimiser steps; or give `epochs`."""
    epochs: Annotated[float | None, Keeps.PAST] = Field(default=None, gt=0)
    """Passes over the corpus; or give `steps`."""
    seed: Annotated[int, Keeps.EXPERIMENT] = Field(default=0, ge=0, lt=2**32)
    """All randomness is a function of it: the order of the documents, new weights."""
    threads: Annotated[int | None, Keeps.EXPERIMENT] = Field(default=None, ge=1)
    """CPU threads of torch; None takes what is free. Recorded, for bits depend on it."""


class PretrainRecipe(Section):
    """A whole pretraining run."""

    model: PretrainModelSettings
    corpus: CorpusSettings
    train: PretrainTrainSettings
    learner: PretrainLearnerSettings = PretrainLearnerSettings()
    evaluation: PretrainEvaluationSettings = PretrainEvaluationSettings()
    checkpoint: Annotated[PretrainCheckpointSettings, Keeps.BOTH] = PretrainCheckpointSettings()
    log: Annotated[TrackersSettings, Keeps.BOTH] = TrackersSettings()

    @model_validator(mode="after")
    def _an_end(self) -> PretrainRecipe:
        if (self.train.steps is None) == (self.train.epochs is None):
            raise ValueError("train.steps or train.epochs says when to stop; set one of them")
        if self.train.epochs is not None and self.corpus.streaming:
            raise ValueError("a streamed corpus has no known end; set train.steps in place of train.epochs")
        if self.evaluation.documents and self.corpus.streaming:
            raise ValueError("a streamed corpus has no last documents; set evaluation.documents to 0")
        return self
