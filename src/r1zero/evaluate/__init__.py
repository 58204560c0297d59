"""Evaluation: question sets × a policy → accuracy, pass@k and majority with intervals; kept, resumed, compared.

`run` asks and keeps, `summary` counts, `statistics` holds the estimators, `saved` reads an evaluation back.
"""

from r1zero.evaluate.run import EvalProtocol, evaluate
from r1zero.evaluate.summary import SetResult, average, summarise
from r1zero.statistics import wilson

__all__ = ["EvalProtocol", "SetResult", "average", "evaluate", "summarise", "wilson"]
