"""From questions to a rollout batch: prompts, responses, verdicts, rewards, advantages.

`question_sets` loads what a recipe names, `prompts` renders and samples, `rewards` turns verdicts into numbers, and a
collector puts a step's batch together, one step ahead of the learner in `async_collector`.
"""
