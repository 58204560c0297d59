"""Pretraining a causal language model: where base models come from, and what a domain adds to one.

`run` is the command `r1zero pretrain` (recipe, corpus, packing, run directory, resume); `tiny` the plain loop
of `sums`, the tiny base model of `recipes/arithmetic.toml`.
"""

from r1zero.pretrain.tiny import pretrain
