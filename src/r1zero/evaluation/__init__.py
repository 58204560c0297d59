"""Evaluation: question sets × a policy → accuracy, pass@k and majority with intervals; kept, resumed, compared.

`run` asks and keeps, `summary` counts, `statistics` holds the estimators, `saved` reads an evaluation back.
"""

from r1zero.evaluation.run import EvalProtocol, evaluate_sets
from r1zero.evaluation.summary import SetResult, average, summarise
from r1zero.statistics import wilson
