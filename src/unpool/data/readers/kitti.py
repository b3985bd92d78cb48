"""KITTI's sets of 2012 and 2015: pairs from a driving car, with disparity or flow where a laser scanner measured it.

DIR/training holds image_2 and image_3 (2015), colored_0 and colored_1, or image_0 and image_1 (2012); NUMBER_10.png is
the frame that has targets and NUMBER_11.png the next one. Targets are disp_occ_0 and disp_noc_0 (2015), disp_occ and
disp_noc (2012), flow_occ and flow_noc; DIR/testing has none. cvlibs.net/datasets/kitti
"""

from pathlib import Path
from typing import Literal

from unpool.data.dense_files import read_kitti_disparity, read_kitti_flow
from unpool.data.image_file import printable, probe
from unpool.data.listing import walk
from unpool.data.pair_scenes import PAIR
from unpool.data.readers.image_twos import ImageTwos, Two, drawn_twos
from unpool.data.readers.splits import WHOLE, Drawn, Split, Together, missing_split
from unpool.data.root import require_root
from unpool.errors import DataError
from unpool.limits import Seed, ValShare
from unpool.types import Decoding, Sample

_CAMERAS = (("image_2", "image_3"), ("colored_0", "colored_1"), ("image_0", "image_1"))  # left, right
_TARGETS = {
    "disparity": (("disp_occ_0", "disp_noc_0"), ("disp_occ", "disp_noc")),  # with what is hidden, without it
    "flow": (("flow_occ", "flow_noc"),),
}


class Kitti(ImageTwos):
    """Stereo pairs with `disparity`, or two frames with `flow`; `hidden` is what is measured and not seen twice.

    Args:
        target: "disparity" of the left and the right image, or "flow" from a frame to the next one.
        val_share: part of the pairs drawn for validation; with 1 all are val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        decoding: Decoding = PAIR,
        target: Literal["disparity", "flow"] = "disparity",
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_root(root)
        cameras = _first(root, _CAMERAS)
        folders = _first(root, _TARGETS[target])
        if cameras is None or folders is None:
            looked = [f"training/{pair[0]}" for pair in (_TARGETS[target] if cameras else _CAMERAS)]
            raise missing_split(root, split, looked)
        twos = []
        for name in walk(root / "training" / folders[0]).files:
            first = f"training/{cameras[0]}/{name}"
            after = _next_frame(root, name) if target == "flow" else name
            second = f"training/{cameras[1]}/{name}" if target == "disparity" else f"training/{cameras[0]}/{after}"
            twos.append(Two(first, second, tuple(f"training/{folder}/{name}" for folder in folders)))
        layout = f"training/{folders[0]}/000000_10.png"
        pairs = drawn_twos(root, twos, split, Drawn.of(val_share, seed, together), layout=layout)
        super().__init__(root, pairs.of_split, decoding=decoding, what="KITTI's")
        self._target = target
        self.gives: tuple[str, ...] = ("image", target, "hidden")
        self.target_bytes = 5 if target == "disparity" else 9
        self.faults, self.origin = pairs.faults, pairs.origin

    def targets(self, index: int) -> Sample:
        """Returns the targets of a pair: what was measured, and which of it the other image does not show."""
        read = read_kitti_disparity if self._target == "disparity" else read_kitti_flow
        every, visible = (read(file, max_pixels=self.decoding.max_pixels) for file in self.files(index)[2:])
        hidden = visible.isnan() & ~every.isnan()
        return {self._target: every, "hidden": hidden if self._target == "disparity" else hidden[0]}

    def _target_size(self, path: Path) -> tuple[int, int]:
        header = probe(path, max_pixels=self.decoding.max_pixels)
        return header.height, header.width


def _next_frame(root: Path, name: str) -> str:
    """The name of the frame behind that of a flow."""
    if "_10." not in name:
        raise DataError(
            f"{printable(root / 'training')}: {printable(name)} does not say which frame it belongs to; expected "
            "NUMBER_10.png, whose next frame is NUMBER_11.png: give files the names that they were published with"
        )
    return name.replace("_10.", "_11.")


def _first(root: Path, pairs: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    """The first pair of folders of which one is there."""
    there = [pair for pair in pairs if (root / "training" / pair[0]).is_dir()]
    return there[0] if there else None
