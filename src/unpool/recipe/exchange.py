"""An override may exchange the backbone of a recipe, whose options then go with it."""

import logging
from collections.abc import Iterable

from unpool.errors import RecipeError
from unpool.recipe.options import model_options
from unpool.recipe.settings import Recipe

_log = logging.getLogger(__name__)


def without_options_of(former: str | None, recipe: Recipe, overridden: Iterable[str]) -> Recipe:
    """Returns the recipe without those options of its network that are of the backbone before; what goes is said.

    Args:
        former: the backbone that the recipe had; None for that of the network's row.
        recipe: with the overrides, its options not yet checked.
        overridden: keys that the overrides set; such an option stays, and is refused where it does not fit.
    """
    model = recipe.model
    if model.backbone == former:
        return recipe
    try:
        now, before = (model_options(model.name, backbone) for backbone in (model.backbone, former))
    except RecipeError:  # a name that no table has is refused where options are checked
        return recipe
    gone = [key for key in model.options if key in before and key not in now and f"model.{key}" not in set(overridden)]
    if not gone:
        return recipe
    names = ", ".join(f"model.{key}" for key in gone)
    _log.warning("left out of the recipe, since %s has no such option: %s", model.backbone, names)
    kept = {key: value for key, value in model.model_dump().items() if key not in gone}
    return recipe.model_copy(update={"model": type(model).model_validate(kept)})
