"""Recipes: YAML to checked settings. Text becomes settings in this part only."""

from unpool.recipe.explained import explain
from unpool.recipe.length import fit_to_length
from unpool.recipe.of_run import RESUMABLE, check_recipe, load_run_recipe, resumed_recipe, settings_in_common
from unpool.recipe.options import PLANNED, check_network
from unpool.recipe.overrides import Overrides, parse_options, parse_overrides
from unpool.recipe.reading import dump_recipe, early_recipe, load_recipe, recipe_name
from unpool.recipe.schema import recipe_schema
from unpool.recipe.settings import Data, Model, Recipe, Task, Train
from unpool.recipe.shipped import about, recipe_names, recipe_path

__all__ = [
    "PLANNED",
    "RESUMABLE",
    "Data",
    "Model",
    "Overrides",
    "Recipe",
    "Task",
    "Train",
    "about",
    "check_network",
    "check_recipe",
    "dump_recipe",
    "early_recipe",
    "explain",
    "fit_to_length",
    "load_recipe",
    "load_run_recipe",
    "parse_options",
    "parse_overrides",
    "recipe_name",
    "recipe_names",
    "recipe_path",
    "recipe_schema",
    "resumed_recipe",
    "settings_in_common",
]
