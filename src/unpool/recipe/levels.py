"""The values that are black and white in a plain data set, as its recipe has them."""

from unpool.data.plain.levels import Levels
from unpool.recipe.settings import Recipe


def levels_of(recipe: Recipe) -> Levels | None:
    """What the recipe says of values; None where images have to be asked, or where images are files."""
    options = recipe.data.options if recipe.data.reader == "dataset" else {}
    black, white = options.get("black") or 0.0, options.get("white")
    if options.get("normalized"):
        return Levels(black, 1.0 if white is None else white, recipe.data.mean, recipe.data.std)
    return None if white is None else Levels(black, white)
