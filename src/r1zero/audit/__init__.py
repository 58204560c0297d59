"""The audit on a user's own runs and models: the bias meter by step, counterfactual replay, invariance.

The exact audit of the formulas themselves is in `objectives`.
"""
