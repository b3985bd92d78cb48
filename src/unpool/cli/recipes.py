"""`unpool recipes`: list the shipped recipes, print one, or the JSON Schema of all."""

from argparse import Namespace

from unpool.cli.console import write_json, write_result, write_table
from unpool.cli.parser import Parser
from unpool.errors import RecipeError, quoted

ABOUT = "list the shipped recipes, print one, or the JSON Schema of all"


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("recipes", ABOUT, details="example: unpool recipes folder_resnet18 --all > mine.yaml")
    verb.add_argument("name", nargs="?", metavar="NAME", help="print this recipe")
    verb.add_argument("--all", action="store_true", help="print every key of this recipe, with a line of help each")
    verb.add_argument("--schema", action="store_true", help="print the JSON Schema of every recipe, for editors")
    return verb


def run(values: Namespace) -> int:
    """Prints the list of recipes, one recipe or the schema, and returns 0."""
    from unpool.recipe import about, explain, load_recipe, recipe_names, recipe_path, recipe_schema

    if values.schema and values.name:
        raise RecipeError(f"--schema is one for all recipes; leave {quoted(values.name)} out")
    if values.all and not values.name:
        raise RecipeError("--all shows the keys of one recipe; say which: unpool recipes NAME --all")
    if values.all:
        write_result(explain(load_recipe(values.name)))
    elif values.schema:
        write_json(recipe_schema())
    elif values.name:
        write_result(recipe_path(values.name).read_text(encoding="utf-8").rstrip("\n"))
    else:
        write_table([(name, about(name)) for name in recipe_names()])
    return 0
