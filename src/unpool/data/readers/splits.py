"""The splits of a data set: names of their folders, drawing of a validation split, checks and errors of readers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, Self

from unpool.data.classes import held_out
from unpool.data.copies import joined
from unpool.data.duplicates import equal_files
from unpool.data.image_file import printable
from unpool.data.readers.layouts import hint
from unpool.data.readers.split_names import SPLIT_NAMES, misnamed, split_meant
from unpool.errors import DataError, RecipeError
from unpool.types import Decoding, Exif

Split = Literal["train", "val", "test"]
Together = Sequence[Sequence[str]]
WHOLE = {"val_share": 1.0}  # options of a reader that draws: a folder without splits is all val, and all test


class Drawn(NamedTuple):
    """A validation split drawn from the training images, for a data set without one.

    Attributes:
        share: the part that is drawn, of each class or of the whole set.
        seed: of the drawing.
        together: groups of names of samples that are kept together, since a scan found them to be copies.
    """

    share: float
    seed: int
    together: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, share: float, seed: int, together: Together) -> Self:
        """Returns the drawing for the options of a reader; raises RecipeError unless 0 < share <= 1."""
        if not 0 < share <= 1:
            raise RecipeError(f"data.val_share is {share}; expected more than 0 and at most 1, such as 0.2")
        return cls(share, seed, tuple(map(tuple, together)))

    def gives(self, split: Split) -> bool:
        """Whether a set without splits has this one; it has a test split only if the share is 1."""
        return split != "test" or self.share == 1

    def keeps(
        self, names: Sequence[str], split: Split, *, least: int = 0, copies: Sequence[Sequence[str]] = ()
    ) -> set[str]:
        """Returns those of the names (of one class, or of the whole set) that belong to `split`.

        Of two names or more, `least` at least are held out. Each group of `copies` stays together; one of which some
        are not in `names`, such as one picture in two classes, is not held out.
        """
        held = held_out(names, share=self.share, seed=self.seed, least=least, together=copies)
        return set(names) - held if split == "train" else held

    def copies(self, samples: Sequence[tuple[str, str, Path]]) -> list[tuple[str, ...]]:
        """Returns groups of drawn names whose images are copies: files of equal content, and those of `together`.

        Args:
            samples: of each the name that is drawn, which several may share, its own name, and the path of its image.
        """
        drawn = list(dict.fromkeys(name for name, _, _ in samples))
        position = {name: index for index, name in enumerate(drawn)}
        index_of = {sample: position[name] for name, sample, _ in samples}
        path_of = {position[name]: path for name, _, path in samples}
        groups = [*equal_files([path_of[index] for index in range(len(drawn))])]
        groups += [tuple(index_of[sample] for sample in group if sample in index_of) for group in self.together]
        return [
            tuple(drawn[i] for i in group)
            for group in joined([(group[0], other) for group in groups for other in group[1:]])
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns share and seed, and the groups where there are any."""
        described: dict[str, Any] = {"share": self.share, "seed": self.seed}
        return described | ({"together": [list(group) for group in self.together]} if self.together else {})


def require_split(split: str) -> None:
    """Raises RecipeError unless the split is train, val or test."""
    if split not in SPLIT_NAMES:
        raise RecipeError(f"split is '{split}'; expected train, val or test")


def require_exif(exif: str, *, of_target: bool = False) -> None:
    """Raises RecipeError unless exif is apply or ignore; or image, where the target of an image is an image too."""
    allowed = ("apply", "ignore", "image") if of_target else ("apply", "ignore")
    if exif not in allowed:
        raise RecipeError(f"data.exif is '{exif}'; expected {' or '.join(allowed)}")


def with_exif(decoding: Decoding, exif: Exif) -> Decoding:
    """Returns the decoding with the option `exif` of a reader; raises RecipeError unless that is apply or ignore."""
    require_exif(exif)
    return replace(decoding, exif=exif)


def require_named_split(root: Path, split: Split) -> None:
    """Raises DataError for a folder whose name is nearly that of a split which would be drawn in its place."""
    if wrong := misnamed(root, split):
        listed = f"{', '.join(SPLIT_NAMES[split][:-1])} or {SPLIT_NAMES[split][-1]}"
        problem = f"{printable(root / wrong[0])} is not used, since the folder of {split} is called {listed}"
        raise DataError(f"{problem}, and its images would be drawn from those of train: rename it, or move it away")


def missing_split(root: Path, split: str, looked_for: Sequence[str], recipe: str = "") -> DataError:
    """Returns the error for a root that lacks the split, with the paths that were tried; `recipe` is the reader's."""
    return DataError(not_there(root, split, looked_for) + hint(root, recipe))


def not_there(root: Path, split: str, looked_for: Sequence[str]) -> str:
    """Returns a sentence on a root that lacks the split, with the paths that were tried."""
    tried = ", ".join(looked_for)
    return f"{printable(root)}: no {split} split; looked for {tried}: check data.root and data.reader"


def empty_split(root: Path, split: str, drawn: Drawn) -> DataError:
    """Returns the error for a split in which the drawing leaves no image."""
    reason = f"a share of {drawn.share:g} set aside for validation leaves no image for {split}"
    advice = "add images (copies of a picture stay in one part), set data.val_share, or add a val folder"
    return DataError(f"{printable(root)}: {reason}: {advice}")


def drawn_images(root: Path, images: Sequence[str], split: Split, drawn: Drawn | None) -> list[str]:
    """Returns those of the images that belong to the split, all of them where nothing is drawn.

    Raises:
        DataError: the drawing leaves no image for the split, or draws from a folder that is called val or test.
    """
    if drawn is None:
        return list(images)
    if drawn.share < 1:
        _require_one_split(root, images)
    copies = drawn.copies([(image, printable(image), root / image) for image in images])
    kept = drawn.keeps(images, split, copies=copies)
    if not kept:
        raise empty_split(root, split, drawn)
    return [image for image in images if image in kept]


def _require_one_split(root: Path, images: Sequence[str]) -> None:
    for folder in sorted({str(PurePosixPath(image).parent) for image in images}):
        for part in PurePosixPath(folder).parts:
            if (meant := split_meant(part)) in ("val", "test"):
                problem = f"{printable(root)}: images that validation would be drawn from lie in a folder"
                problem += f" '{printable(part)}', which is called as one of {meant} is"
                raise DataError(f"{problem}: list them as {meant}, move them away, or rename the folder")


def require_apart(root: Path, listed: Mapping[str, Sequence[str]], split: str) -> None:
    """Raises DataError where another list of images holds some of those of `split`.

    Args:
        root: of the set.
        listed: images by the name of the list that has them, of each split that there is.
        split: the name of the list whose images must be in no other.
    """
    for other, names in listed.items():
        if other != split and (both := sorted(set(names) & set(listed[split]))):
            problem = f"{printable(root)}: {len(both)} images are in both {split} and {other}"
            raise DataError(
                f"{problem}, such as {printable(both[0])}; expected each in one: take them out of the other"
            )


def origin_of(root: Path, split: str, *, ignored: int = 0, drawn: Drawn | None = None) -> dict[str, Any]:
    """Returns where the list of images comes from, for data.json."""
    return {"root": printable(root), "split": split, "ignored": ignored, "drawn": drawn.to_json() if drawn else None}
