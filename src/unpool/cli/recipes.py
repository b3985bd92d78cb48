"""`unpool recipes`: list the shipped recipes, print one, or the JSON Schema of all."""

from argparse import Namespace

from unpool.cli.console import write_json, write_result, write_table
from unpool.cli.parser import Parser
from unpool.errors import RecipeError, quoted
from unpool.recipe import about, recipe_names, recipe_path, recipe_schema

ABOUT = "list the shipped recipes, print one, or the JSON Schema of all"


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("recipes", ABOUT)
    verb.add_argument("name", nargs="?", metavar="NAME", help="print this recipe")
    verb.add_argument("--schema", action="store_true", help="print the JSON Schema of every recipe, for editors")
    return verb


def run(values: Namespace) -> int:
    """Prints the list of recipes, one recipe or the schema, and returns 0."""
    if values.schema and values.name:
        raise RecipeError(f"--schema is one for all recipes; leave {quoted(values.name)} out")
    if values.schema:
        write_json(recipe_schema())
    elif values.name:
        write_result(recipe_path(values.name).read_text(encoding="utf-8").rstrip("\n"))
    else:
        write_table([(name, about(name)) for name in recipe_names()])
    return 0
