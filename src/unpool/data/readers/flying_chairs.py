"""FlyingChairs: two frames and their flow under one number, in one folder.

DIR/data holds 00001_img1.ppm, 00001_img2.ppm and 00001_flow.flo and so on; beside it, or above it, may lie
FlyingChairs_train_val.txt with a line for each: 1 for training, 2 for validation.
Dosovitskiy et al. 2015, arXiv:1504.06852; lmb.informatik.uni-freiburg.de/resources/datasets/FlyingChairs.en.html
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unpool.data.dense_files import flo_header, read_flo
from unpool.data.image_file import printable
from unpool.data.listing import walk
from unpool.data.pair_scenes import PAIR
from unpool.data.readers.image_twos import ImageTwos, Two, Twos, complete, drawn_twos
from unpool.data.readers.splits import WHOLE, Drawn, Split, Together, missing_split, origin_of, require_split
from unpool.data.root import require_root
from unpool.errors import DataError
from unpool.limits import Seed, ValShare
from unpool.types import Decoding, Sample

LIST = "FlyingChairs_train_val.txt"
_SPLITS = {"1": "train", "2": "val"}
_END = len("_img1")


class FlyingChairs(ImageTwos):
    """Two frames with `flow`; what is hidden is not known.

    Args:
        val_share: part of the pairs drawn for validation where there is no list; with 1 all are val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    gives: tuple[str, ...] = ("image", "flow")
    target_bytes = 8
    whole_options = WHOLE

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        decoding: Decoding = PAIR,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        folder = "data/" if (require_root(root) / "data").is_dir() else ""
        drawn = Drawn.of(val_share, seed, together)
        twos = [_two(folder + number, suffix) for number, suffix in _numbers(walk(root / folder).files)]
        list_file = root / LIST
        if list_file.is_file():
            pairs = _listed(root, twos, list_file, split)
        else:
            pairs = drawn_twos(root, twos, split, drawn, layout=f"{folder}00001_img1.ppm")
        super().__init__(root, pairs.of_split, decoding=decoding, what="FlyingChairs")
        self.set_files = (list_file,) if list_file.is_file() else ()
        self.faults, self.origin = pairs.faults, pairs.origin

    def targets(self, index: int) -> Sample:
        """Returns the flow of a pair."""
        return {"flow": read_flo(self.files(index)[2])}

    def _target_size(self, path: Path) -> tuple[int, int]:
        return flo_header(path).size_hw


def _numbers(files: Sequence[str]) -> list[tuple[str, str]]:
    """What stands before _img1 and _img2, and the suffix, of pairs of which either image is there; 2 before 10."""
    paths = [PurePosixPath(file) for file in files if PurePosixPath(file).stem.endswith(("_img1", "_img2"))]
    pairs = {(path.with_suffix("").as_posix()[:-_END], path.suffix) for path in paths}
    return sorted(pairs, key=lambda pair: (len(pair[0]), pair))


def _two(number: str, suffix: str) -> Two:
    return Two(f"{number}_img1{suffix}", f"{number}_img2{suffix}", (f"{number}_flow.flo",))


def _listed(root: Path, twos: list[Two], list_file: Path, split: Split) -> Twos:
    """The pairs that the list has for a split; its lines are the pairs in the order of their numbers."""
    lines = list_file.read_text(encoding="utf-8", errors="replace").split()
    odd = sorted(set(lines) - set(_SPLITS))
    if odd or len(lines) != len(twos):
        problem = f"has {len(lines)} lines" + (f", one of them '{printable(odd[0][:20])}'" if odd else "")
        raise DataError(
            f"{printable(list_file)} {problem}, and there are {len(twos)} pairs; expected 1 or 2 for each pair: "
            "restore it, or take it away so that validation is drawn"
        )
    if split not in _SPLITS.values():
        raise missing_split(root, split, [LIST])
    chosen = [two for two, line in zip(twos, lines, strict=True) if _SPLITS[line] == split]
    kept, faults = complete(root, chosen)
    if not kept:
        raise DataError(f"{printable(list_file)} names no whole pair for {split}: check data.root")
    return Twos(kept, faults, origin_of(root, split))
