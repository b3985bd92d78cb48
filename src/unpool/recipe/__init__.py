"""Recipes: YAML to checked settings. The only place where text becomes settings."""

from unpool.recipe.overrides import Overrides, parse_overrides
from unpool.recipe.reading import dump_recipe, load_recipe, recipe_name
from unpool.recipe.settings import Data, Model, Recipe, Task, Train
from unpool.recipe.shipped import recipe_names, recipe_path

__all__ = [
    "Data",
    "Model",
    "Overrides",
    "Recipe",
    "Task",
    "Train",
    "dump_recipe",
    "load_recipe",
    "parse_overrides",
    "recipe_name",
    "recipe_names",
    "recipe_path",
]
