"""Finds the recipes that are shipped with the package, by name."""

from pathlib import Path

from unpool.errors import RecipeError, quoted
from unpool.recipe.mistakes import nearest
from unpool.recipe.yaml_text import read_yaml

FOLDER = Path(__file__).parents[1] / "recipes"


def recipe_names() -> list[str]:
    """Returns the names of the shipped recipes, sorted.

    Example:
        >>> "scenes_unet" in recipe_names()
        True
    """
    return sorted(_paths())


def recipe_path(name: str) -> Path:
    """Returns the path of a shipped recipe.

    Raises:
        RecipeError: no recipe has this name; the message has the nearest one.
    """
    paths = _paths()
    if name not in paths:
        raise RecipeError(f"no recipe is called {quoted(name)}{nearest(name, sorted(paths))}")
    return paths[name]


def about(name: str) -> str:
    """Returns the `about` line of a shipped recipe.

    Raises:
        RecipeError: no recipe has this name; the message has the nearest one.
    """
    path = recipe_path(name)
    tree = read_yaml(path.read_text(encoding="utf-8"), where=path.name)
    return " ".join(str(tree["about"]).split())


def _paths() -> dict[str, Path]:
    return {path.stem: path for path in FOLDER.rglob("*.yaml")}
