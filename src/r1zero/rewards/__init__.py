"""Rewards as a list: r = Σ weight · r_k, each part with a grader, a metric and a verdict of its own.

`builtin` holds those that are a formula, `judge` asks a language model, `gym` reasoning-gym's scorers, `local` a
function of this process; functions and commands of files run in the verifier's killable processes. `composite` makes
one verdict of them, and `open` all of it from a recipe.
"""
