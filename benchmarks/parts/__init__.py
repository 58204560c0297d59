"""The parts of benchmarks/gpu.py: a module each, with a function `measure(bench)`. No torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part, and what it would like to have of the time. The first one pays for all that a machine reads once."""

    name: str
    seconds: float
    about: str


PARTS = (
    Part("facts", 60, "card, driver, versions; the rates of one large product and one large copy"),
    Part("correct", 100, "sampler against learner and generate, gradients, some training, killed and resumed"),
    Part("sampler", 110, "tokens a second beside transformers' generate and generate_batch"),
    Part("learner", 40, "tokens a second, MFU, peak memory against the plan"),
    Part("step", 90, "a whole step beside TRL's GRPOTrainer"),
    Part("paper", 150, "the 1.5B run of the paper: seconds by phase"),
)
