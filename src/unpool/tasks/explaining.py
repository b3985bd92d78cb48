"""What tasks share where a score of an answer is explained: names of targets, and images beside what goes with them."""

from collections.abc import Sequence

from torch import Tensor

from unpool.errors import RecipeError, quoted, shortened
from unpool.types import Batch

_LISTED = 10  # names in a message


def index_named(target: str, names: Sequence[str], *, what: str) -> int:
    """The index of a name, of one of several that it lists ("tabby" of "tabby, tabby cat"), or of a number.

    Raises:
        RecipeError: there is none.

    >>> index_named("tabby", ("dog", "tabby, tabby cat"), what="class"), index_named("0", ("dog", "cat"), what="class")
    (1, 0)
    """
    for i, name in enumerate(names):
        if target == name or target in name.split(", "):
            return i
    if target.isascii() and target.isdigit() and int(target) < len(names):
        return int(target)
    listed = ", ".join(shortened(name) for name in names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    raise RecipeError(f"there is no {what} {quoted(target)}: give a number below {len(names)}, or one of {listed}")


def with_images(inputs: Batch, image: Tensor) -> Batch:
    """Inputs of one image as those of several (B, C, H, W) that lie in the input as it does."""
    count = len(image)
    repeated = {
        key: value.expand(count, *value.shape[1:]) if isinstance(value, Tensor) else count * list(value)
        for key, value in inputs.items()
    }
    return repeated | {"image": image}
