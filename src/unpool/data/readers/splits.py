"""Where the splits of a data set lie, and what a reader says when there is none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from unpool.data.classes import held_out
from unpool.data.decode import printable
from unpool.errors import DataError, RecipeError

Split = Literal["train", "val", "test"]
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


WHOLE = {"val_share": 1.0}  # options of a reader that draws: a folder without splits is all val, and all test


class Drawn(NamedTuple):
    """How a validation part was set aside where the data set brings none."""

    share: float
    seed: int

    def gives(self, split: Split) -> bool:
        """Whether a set without splits has this one: a test split, only where everything is held out."""
        return split != "test" or self.share == 1

    def keeps(self, names: Sequence[str], split: Split) -> set[str]:
        """The names that belong to `split`, of one class or of the whole set."""
        held = held_out(names, share=self.share, seed=self.seed)
        return set(names) - held if split == "train" else held


def require_root(root: Path) -> Path:
    """The root, or a DataError that says what stands there instead."""
    if not root.exists():
        raise DataError(f"data.root is {printable(root)}, which does not exist; give the folder of the data set")
    if not root.is_dir():
        raise DataError(f"data.root is {printable(root)}, which is no folder; give the folder of the data set")
    return root


def require_split(split: str) -> None:
    """A split is one of three words."""
    if split not in SPLIT_NAMES:
        raise RecipeError(f"split is '{split}'; expected train, val or test")


def require_share(val_share: float) -> None:
    """The part set aside is more than nothing and at most everything."""
    if not 0 < val_share <= 1:
        raise RecipeError(f"data.val_share is {val_share}; expected more than 0 and at most 1, such as 0.2")


def require_exif(exif: str) -> None:
    """Orientation is applied or it is not."""
    if exif not in ("apply", "ignore"):
        raise RecipeError(f"data.exif is '{exif}'; expected apply or ignore")


def missing_split(root: Path, split: str, looked_for: Sequence[str]) -> DataError:
    """The error of a root without the split asked for."""
    tried = ", ".join(looked_for)
    return DataError(f"{printable(root)}: no {split} split; looked for {tried}: check data.root and data.reader")


def nothing_left(root: Path, split: str, drawn: Drawn) -> DataError:
    """The error of a split that rounds to nothing."""
    reason = f"a share of {drawn.share:g} set aside for validation leaves no image for {split}"
    return DataError(f"{printable(root)}: {reason}: add images, set data.val_share, or add a val folder")
