"""The refusal of images that lose their borders, for tasks that answer about all of an image."""

from unpool.errors import RecipeError
from unpool.ops.preprocessing import Preprocessing


def check_borders(preprocessing: Preprocessing | None, borders: str) -> None:
    """Raises RecipeError where borders are cut off; `borders` says what is lost with them."""
    if preprocessing is not None and preprocessing.size_hw is not None and preprocessing.rule == "cover":
        raise RecipeError(f"data.rule cover cuts borders off {borders}; use stretch")
