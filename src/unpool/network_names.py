"""The names of the networks, known without importing one.

names.txt has a line for each: name, task, kind of output, published weights.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from unpool.errors import ModelFileError, RecipeError, UnpoolError, quoted, shortened

FILE = Path(__file__).with_name("models") / "names.txt"  # tests/models/test_names.py says how to write it anew


OUTPUTS = {  # of networks, in words; `Variant.gives` in models/catalog.py says which by the shapes
    "scores": "one score for each class",
    "coordinates": "two coordinates for each joint",
    "maps": "a map for each class, of at least half the sides of the image",
    "heatmaps": "a small map for each joint",
    "fields": "maps for joints and for limbs",
    "boxes": "any number of boxes, each with a class",
    "boxes_of_proposals": "a class, or none, for each of the regions that data.proposals gives",
    "boxes_and_masks": "any number of boxes, each with a class and a mask",
    "boxes_and_joints": "any number of people in boxes, each with joints",
    "strings": "scores of the characters, one after the other",
    "words": "a score for each word that may come next",
    "scores_and_boxes": "one score for each class, and boxes of a known number of things",
}


class Listed(NamedTuple):
    """One network of the list.

    Attributes:
        name: its row.
        task: what it was made for.
        gives: its kind of output, a key of OUTPUTS.
        weights: words for its published weights.
    """

    name: str
    task: str
    gives: str
    weights: tuple[str, ...]


def listed_networks() -> dict[str, Listed]:
    """Returns every network but timm's, by name, in the order of `unpool models`.

    Example:
        >>> listed_networks()["resnet50"]
        Listed(name='resnet50', task='classification', gives='scores', weights=('imagenet',))
    """
    lines = [line.split() for line in FILE.read_text(encoding="ascii").splitlines()]
    return {name: Listed(name, task, gives, tuple(weights)) for name, task, gives, *weights in lines}


def not_listed(name: str, names: Iterable[str], *, what: str = "network") -> str:
    """Returns the sentence that refuses a name, with those that are near it.

    Example:
        >>> not_listed("unte", ["unet", "fcn32s"])
        "no network is called 'unte'; did you mean: unet? Those of timm are called timm/NAME"
    """
    known = list(names)
    near = get_close_matches(shortened(name).lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean: {', '.join(near)}?" if near else f"there are: {', '.join(sorted(known))}."
    return f"no {what} is called {quoted(name)}; {hint} Those of timm are called timm/NAME"


def not_a_run(path: Path) -> UnpoolError:
    """Returns the error for a run that is no folder: it is missing, or the name of a network without its weights.

    Example:
        >>> str(not_a_run(Path("resnet50")))
        "'resnet50' is a network, not a run: add --weights imagenet (Python: weights='imagenet')"
    """
    name = path.as_posix()
    known = Listed(name, "", "", ("imagenet",)) if name.startswith("timm/") else listed_networks().get(name)
    if known is None:
        return ModelFileError(f"no run directory {path}; `unpool train` prints the path of each run at its end")
    if not known.weights:
        return RecipeError(
            f"{quoted(name)} is a network, not a run, and no weights of it are published: train it first, and give the "
            "directory of that run"
        )
    word = known.weights[0]
    return RecipeError(f"{quoted(name)} is a network, not a run: add --weights {word} (Python: weights={word!r})")
