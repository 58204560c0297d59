"""r1zero: reinforcement learning with verified rewards straight from a base language model.

The command line is `r1zero --help`; the loop is `r1zero.training.train.train`. Importing this package loads neither
torch nor transformers: import the module you need.
"""

__version__ = "0.1.0"
