"""A folder of analyses as `r1zero analyze` writes it, of a model of the paper whose responses are made up."""

import random
from pathlib import Path

from r1zero.analyze.responses import GradedResponse, ModelResponses, QuestionResponses
from r1zero.analyze.run import ANALYSES, AnalysisPlan, Judges, analyse_answering, analyse_sampled
from r1zero.types import Outcome
from report_runs import HOSTILE

MODEL = "Qwen/Qwen2.5-Math-1.5B"
TALK = "What is 2 + 2? What is 3 + 3? What is 4 + 4? What is 5 + 5?\u202e<img src=x onerror='window.hacked = 1'>"
REFLECTING = "It is 3. Let me recheck: <b>1 + 1</b> is 2, so I made a mistake. The answer is \\boxed{2}."
PLAIN = "Therefore the answer is \\boxed{2}."


def group(index: int, rng: random.Random, chance: float) -> QuestionResponses:
    """Eight responses, right with that chance; some of them reflect, one question's among hostile text."""
    replies = []
    for _ in range(8):
        text = (HOSTILE if index == 0 else "") + REFLECTING if rng.random() < 0.15 else PLAIN
        outcome = Outcome.RIGHT if rng.random() < chance else rng.choice((Outcome.WRONG, Outcome.NO_ANSWER))
        replies.append(GradedResponse(text, outcome, rng.random() < 0.1, len(text.split())))
    return QuestionResponses(f"q/{index}", str(1 + index % 5), f"What is {index} + 1?", tuple(replies))


def analysed(out: Path, questions: int = 40) -> Path:
    """All analyses over ten temperatures, with the rules as judge."""
    rng, judges = random.Random(0), Judges()
    greedy = []
    for template, talking in (("no", 0.5), ("r1", 0.1)):
        groups = []
        for i in range(questions):
            text, outcome = (TALK, Outcome.NO_ANSWER) if rng.random() < talking else (PLAIN, Outcome.RIGHT)
            groups.append(
                QuestionResponses(
                    f"q/{i}", str(1 + i % 5), f"How old is Ann {i}?", (GradedResponse(text, outcome, False, 9),)
                )
            )
        greedy.append(ModelResponses(MODEL, template, 0.0, tuple(groups)))
    cells = [
        ModelResponses(MODEL, "r1", t / 10, tuple(group(i, rng, (i % 5) / 5 + 0.02 * t) for i in range(questions)))
        for t in range(1, 11)
    ]
    chosen = analyse_answering(greedy, judges, out, MODEL)
    analyse_sampled(cells, chosen, AnalysisPlan(ANALYSES, (), (), 8, 8), judges, out, None)
    return out
