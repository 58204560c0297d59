"""vLLM as a sampler: its engine in a process beside this one, and how weights get there.

Importing `build` and `weights` needs vLLM, so they are imported where an engine is wanted.
"""
