"""Samplers: prompts in, completions out, token ids all the way.

A sampler is anything with `sample` (`protocol`); the one in `embedded` runs any transformers causal language model,
those in `vllm` and `server` ask others. Completions stream out as they finish, so that grading overlaps with decoding.
"""
