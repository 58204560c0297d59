"""A run directory: what a run makes and how it was made. Reading one needs no torch.

`run` is the directory, `checkpoints` what training can be continued from.
"""
