"""The names of the networks, known without importing one: names.txt has a line for each, with its task and weights."""

from pathlib import Path
from typing import NamedTuple

from unpool.errors import ModelFileError, RecipeError, UnpoolError, quoted

FILE = Path(__file__).with_name("models") / "names.txt"  # tests/models/test_names.py says how to write it anew


class Listed(NamedTuple):
    """One network of the list.

    Attributes:
        name: its row.
        task: what it was made for.
        weights: words for its published weights.
    """

    name: str
    task: str
    weights: tuple[str, ...]


def listed_networks() -> dict[str, Listed]:
    """Returns every network but timm's, by name, in the order of `unpool models`.

    Example:
        >>> listed_networks()["resnet50"]
        Listed(name='resnet50', task='classifiers', weights=('imagenet',))
    """
    lines = [line.split() for line in FILE.read_text(encoding="ascii").splitlines()]
    return {name: Listed(name, task, tuple(weights)) for name, task, *weights in lines}


def not_a_run(path: Path) -> UnpoolError:
    """Returns the error for a run that is no folder: it is missing, or the name of a network without its weights.

    Example:
        >>> str(not_a_run(Path("resnet50")))
        "'resnet50' is a network, not a run: add --weights imagenet (Python: weights='imagenet')"
    """
    name = path.as_posix()
    known = Listed(name, "", ("imagenet",)) if name.startswith("timm/") else listed_networks().get(name)
    if known is None:
        return ModelFileError(f"no run directory {path}; `unpool train` prints the path of each run at its end")
    if not known.weights:
        return RecipeError(
            f"{quoted(name)} is a network, not a run, and no weights of it are published: train it first, and give the "
            "directory of that run"
        )
    word = known.weights[0]
    return RecipeError(f"{quoted(name)} is a network, not a run: add --weights {word} (Python: weights={word!r})")
