"""One frozen recipe: what a run is, in TOML, with dotted overrides; unknown keys are errors.

    recipe = load_recipe(Path("recipes/demo.toml"), {"train.seed": 1})

`sections` holds the settings, `rewards` those of rewards as a list, `recipe` puts them together, `load` reads and
checks them, `sentences` says what is wrong.
"""

from r1zero.config.load import checked, load_recipe, make_recipe, read_recipe, validated
from r1zero.config.overrides import differences, parse_overrides
from r1zero.config.question_sections import BenchmarkSettings, QuestionsSettings, SourceSettings
from r1zero.config.recipe import Recipe
from r1zero.config.rewards import RewardSettings
from r1zero.config.sections import *
