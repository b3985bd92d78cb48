"""Recipes: YAML to checked settings. Text becomes settings in this part only."""

from unpool.recipe.options import check_network
from unpool.recipe.overrides import Overrides, parse_options, parse_overrides
from unpool.recipe.reading import dump_recipe, load_recipe, recipe_name
from unpool.recipe.schema import recipe_schema
from unpool.recipe.settings import Data, Model, Recipe, Task, Train
from unpool.recipe.shipped import about, recipe_names, recipe_path

__all__ = [
    "Data",
    "Model",
    "Overrides",
    "Recipe",
    "Task",
    "Train",
    "about",
    "check_network",
    "dump_recipe",
    "load_recipe",
    "parse_options",
    "parse_overrides",
    "recipe_name",
    "recipe_names",
    "recipe_path",
    "recipe_schema",
]
