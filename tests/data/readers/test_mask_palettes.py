"""Masks with palettes: read as they are meant, or refused by name; every file is written byte by byte."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.data.mask_files import grey_png, grey_tiff, palette_bmp, palette_gif, palette_png, palette_tiff, rgb_png
from tests.data.readers.trees import pixels, written
from unpool.data.readers.camvid import CLASSES, CamVid
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.same_names import check_same_names
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.ops.drawing import voc_palette

PLAIN = "sky\ncat\ndog\n"
COLOURED = "sky 0 0 0\ncat 128 0 0\ndog 0 128 0\n"
SKY, CAT, DOG = (0, 0, 0), (128, 0, 0), (0, 128, 0)
WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)
IDS = np.array([[0, 1, 1, 2], [2, 0, 0, 1], [1, 1, 2, 0]], np.uint8)
FEW = np.array([[0, 2, 2, 0], [2, 0, 0, 2], [2, 2, 2, 0]], np.uint8)  # without the class in the middle
NONE = np.zeros((3, 4), np.uint8)
RAMP = [(i, i, i) for i in range(256)]
WEB = [WHITE] * 10 + [SKY] + [(9, i, 7) for i in range(200)]  # black at index 10, as in palettes of browsers


def shown(ids: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The ids in the colours of their classes."""
    return np.array(colours, np.uint8)[ids]


def adaptive(ids: np.ndarray, colours: Sequence[tuple[int, int, int]], write: Callable = palette_png) -> bytes:
    """A palette of the colours in use only, the most frequent first."""
    used = np.argsort(-np.bincount(ids.reshape(-1), minlength=3), kind="stable")
    used = [int(i) for i in used if (ids == i).any()]
    position = np.zeros(256, np.uint8)
    position[used] = np.arange(len(used))
    return write(position[ids], [colours[i] for i in used])


class Case(NamedTuple):
    """A set: its classes, files with the ids that they mean, options; and what a refusal says, if it is one."""

    classes: str
    files: list[tuple[bytes, np.ndarray]]
    refusal: str = ""
    options: dict = {}  # noqa: RUF012 - never written to


WRITERS = (palette_png, palette_gif, palette_bmp, palette_tiff)
GREYS = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
GREY_COLOURS = "sky 0 0 0\ncat 2 2 2\ndog 1 1 1\n"
BW = {"mask_values": {0: 0, 255: 1}}
BINARY = np.minimum(IDS, 1)
BLACK_WHITE = [SKY, WHITE]
VOC = list(voc_palette(21))
CASES = {
    # colours in classes.txt decide
    "adaptive palettes and colours": Case(COLOURED, [(adaptive(i, [SKY, CAT, DOG]), i) for i in (IDS, FEW, NONE)]),
    "the same as GIF": Case(COLOURED, [(adaptive(i, [SKY, CAT, DOG], palette_gif), i) for i in (IDS, FEW)]),
    "the same as BMP": Case(COLOURED, [(adaptive(i, [SKY, CAT, DOG], palette_bmp), i) for i in (IDS, FEW)]),
    "the same as TIFF": Case(COLOURED, [(adaptive(i, [SKY, CAT, DOG], palette_tiff), i) for i in (IDS, FEW)]),
    "a colour map of 8 bits in a TIFF": Case(
        COLOURED, [(palette_tiff(2 - IDS, [DOG, CAT, SKY], shift=1), IDS), (palette_tiff(FEW, [SKY, CAT, DOG]), FEW)]
    ),
    "palettes beside colours": Case(
        COLOURED, [(palette_png(2 - IDS, [DOG, CAT, SKY]), IDS), (rgb_png(shown(FEW, [SKY, CAT, DOG])), FEW)]
    ),
    "two entries of one colour": Case(COLOURED, [(palette_png(IDS + 1, [SKY, SKY, CAT, DOG]), IDS)]),
    "unused entries of other colours": Case(COLOURED, [(palette_png(IDS, [SKY, CAT, DOG, RED, BLUE]), IDS)]),
    "an entry in use of no class": Case(
        COLOURED, [(palette_png(IDS, [SKY, CAT, RED]), IDS)], r"0\.png: .*entry 2 is \(255, 0, 0\)"
    ),
    "a transparent entry in use": Case(
        COLOURED, [(palette_png(IDS, [SKY, CAT, DOG], alpha=[255, 0]), IDS)], r"entry 1 is \(128, 0, 0\) with alpha 0"
    ),
    "an entry in use that is half transparent": Case(
        COLOURED,
        [(palette_png(IDS, [SKY, CAT, DOG], alpha=[255, 128, 254]), IDS)],
        r"entry 1 is \(128, 0, 0\) with alpha 128, entry 2 is",
    ),
    "a transparent entry not in use": Case(COLOURED, [(palette_png(FEW, [SKY, CAT, DOG], alpha=[255, 0]), FEW)]),
    "a clear index in a GIF": Case(
        COLOURED, [(palette_gif(IDS, [SKY, CAT, DOG], clear=0), IDS)], r"entry 0 is \(0, 0, 0\) with alpha 0"
    ),
    "grey ids beside colours": Case(
        COLOURED, [(rgb_png(shown(IDS, [SKY, CAT, DOG])), IDS), (grey_png(FEW), FEW)], "mask is grey, and others"
    ),
    "black beside colours": Case(COLOURED, [(rgb_png(shown(IDS, [SKY, CAT, DOG])), IDS), (grey_png(NONE), NONE)]),
    "black that is another class as a colour": Case(
        "cat 128 0 0\nsky 0 0 0\ndog 0 128 0\n",
        [(palette_png(IDS, [CAT, SKY, DOG]), IDS), (grey_png(NONE), NONE)],
        "its value 0 is the id of one class and the colour of another",
    ),
    "white that is ignored as an id": Case(
        "sky 0 0 0\ncat 255 255 255\ndog 0 128 0\n",
        [(rgb_png(shown(IDS, [SKY, WHITE, DOG])), IDS), (grey_png(255 * BINARY), BINARY)],
        "its value 255 means another class than",
        {"ignore": 255},
    ),
    "colours that are greys of other ids": Case(
        GREY_COLOURS, [(palette_png(i, [SKY, GREYS[2], GREYS[1]]), i) for i in (IDS, FEW)]
    ),
    "the same in a palette that is no palette": Case(
        GREY_COLOURS, [(palette_png(IDS, GREYS), np.array([0, 2, 1])[IDS])]
    ),
    "the same as RGB": Case(GREY_COLOURS, [(rgb_png(shown(IDS, [SKY, GREYS[2], GREYS[1]])), IDS)]),
    "the same as grey": Case(
        GREY_COLOURS, [(grey_png(IDS), IDS)], "its value 1 is the id of one class and the colour of another"
    ),
    "grey ids and classes with colours": Case(COLOURED, [(grey_png(IDS), IDS), (grey_png(FEW), FEW)]),
    # no colours: indices where all agree
    "one palette": Case(PLAIN, [(palette_png(i, [RED, WHITE, BLUE]), i) for i in (IDS, FEW, NONE)]),
    "one palette in several formats": Case(
        PLAIN,
        [(write(IDS, [RED, WHITE, BLUE]), IDS) for write in (palette_png, palette_gif, palette_bmp, palette_tiff)],
    ),
    "VOC's colours": Case(PLAIN, [(palette_png(i, VOC), i) for i in (IDS, FEW)]),
    "VOC's grey": Case("".join(f"c{i}\n" for i in range(21)), [(palette_png(7 * BINARY, VOC), 7 * BINARY)]),
    "palettes that differ": Case(
        PLAIN,
        [(adaptive(i, [SKY, CAT, DOG]), i) for i in (IDS, FEW)],
        r"palettes of the masks differ.*entry 0 is .*first \S*0\.png and .*1\.png",
    ),
    "palettes that differ in an unused entry": Case(
        PLAIN, [(palette_png(i, [SKY, CAT, DOG, other]), i) for i, other in ((IDS, RED), (FEW, BLUE))]
    ),
    "an entry that another file uses": Case(
        PLAIN,
        [(palette_png(BINARY, [SKY, RED, WHITE]), BINARY), (palette_png(IDS, [SKY, RED, BLUE]), IDS)],
        r"entry 2 is",
    ),
    "an entry beyond the palette": Case(PLAIN, [(palette_png(IDS, [RED, BLUE]), IDS)], "uses entry 2 of its palette"),
    "transparency in one of two": Case(
        PLAIN,
        [(palette_png(IDS, [RED, BLUE, WHITE]), IDS), (palette_png(IDS, [RED, BLUE, WHITE], alpha=[0]), IDS)],
        r"entry 0 is \(255, 0, 0\) .*with alpha 0",
    ),
    "transparency in all": Case(PLAIN, [(palette_png(i, [RED, BLUE, WHITE], alpha=[0]), i) for i in (IDS, FEW)]),
    "palettes beside grey ids": Case(
        PLAIN, [(palette_png(IDS, [SKY, RED, BLUE]), IDS), (grey_png(FEW), FEW)], r"entry 2 is"
    ),
    "palettes beside black": Case(PLAIN, [(palette_png(IDS, [SKY, RED, BLUE]), IDS), (grey_png(NONE), NONE)]),
    # no colours: greys are ids
    "a palette that is no palette": Case(PLAIN, [(palette_png(IDS, RAMP), IDS), (grey_png(FEW), FEW)]),
    "grey ids as GIF": Case(PLAIN, [(adaptive(i, GREYS, palette_gif), i) for i in (IDS, FEW, NONE + 2)]),
    "grey ids in adaptive palettes": Case(PLAIN, [(adaptive(i, GREYS), i) for i in (IDS, FEW)]),
    "grey ids in one adaptive palette": Case(PLAIN, [(adaptive(FEW, GREYS), FEW)] * 2),
    "grey ids as BMP and TIFF": Case(
        PLAIN, [(adaptive(FEW, GREYS, write), FEW) for write in (palette_bmp, palette_tiff)] + [(grey_tiff(IDS), IDS)]
    ),
    "black and white in another order": Case(
        PLAIN, [(palette_gif(BINARY, BLACK_WHITE), BINARY), (palette_gif(1 - BINARY, [WHITE, SKY]), BINARY)], options=BW
    ),
    "black and white without a mapping": Case(
        "sky\ncat\n",
        [(palette_gif(BINARY, BLACK_WHITE), BINARY), (palette_gif(NONE, [WHITE]), NONE + 1)],
        r"ids \{0, 255\} \(the greys of its palette\).* set data\.mask_values=\{0: 0, 255: 1\}",
    ),
    "black and white as BMP": Case(PLAIN, [(palette_bmp(BINARY, BLACK_WHITE), BINARY)], options=BW),
    "black and white as BMP without a mapping": Case(
        "sky\ncat\n",
        [(palette_bmp(BINARY, BLACK_WHITE), BINARY)],
        r"ids \{0, 255\} \(the greys of its palette\).* set data\.mask_values=\{0: 0, 255: 1\}",
    ),
    "black in a palette of browsers": Case(
        "".join(f"c{i}\n" for i in range(21)), [(palette_png(NONE + 10, WEB), NONE)], "indices or grey values"
    ),
    "greys beside VOC's colours in another order": Case(
        "".join(f"c{i}\n" for i in range(130)),
        [(palette_png(BINARY, [SKY, (128, 128, 128), CAT]), BINARY)],
        "indices or grey values",
    ),
    "one grey twice": Case(PLAIN, [(palette_png(IDS, [SKY, SKY, (2, 2, 2)]), IDS)], "several entries of the same grey"),
    "transparent greys": Case(
        PLAIN, [(palette_png(FEW // 2, [SKY, (2, 2, 2)], alpha=[0]), FEW)], "entries that are transparent"
    ),
}


def made(root: Path, case: Case, *, masks: str = "masks", images: str = "images") -> Path:
    written(root / "classes.txt", case.classes.encode())
    for i, (data, ids) in enumerate(case.files):
        written(root / images / f"{i}.png", rgb_png(pixels(*ids.shape, 3, seed=i)))
        written(root / masks / f"{i}.png", data)
    return root


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_masks_mean_what_was_meant_or_are_refused(name, memory, tmp_path):
    case = CASES[name]
    made(tmp_path, case)
    if case.refusal:
        with pytest.raises(DataError, match=case.refusal):
            scan(FolderMasks(tmp_path, "val", val_share=1.0, **case.options), memory=memory)
        return
    samples = scan(FolderMasks(tmp_path, "val", val_share=1.0, **case.options), memory=memory).samples
    assert [samples[i]["mask"].tolist() for i in range(len(samples))] == [ids.tolist() for _, ids in case.files]


def test_drawn_parts_are_read_by_one_rule(tmp_path):
    files = [(adaptive(ids, [SKY, CAT, DOG]), ids) for ids in [IDS, FEW] * 5]
    made(tmp_path, Case(PLAIN, files))
    for split in ("train", "val"):
        with pytest.raises(DataError, match="palettes of the masks differ"):
            FolderMasks(tmp_path, split)


@pytest.mark.parametrize(
    ("train", "val", "says"),
    [
        ([SKY, CAT, DOG], [DOG, CAT, SKY], r"palettes show 'sky' as \(0, 128, 0\), and as \(0, 0, 0\) before"),
        (RAMP, [DOG, CAT, SKY], "their ids are indices of palettes, and were grey values before"),
        ([DOG, CAT, SKY], RAMP, "their ids are grey values, and were indices of palettes before"),
        ([SKY, CAT, DOG], [SKY, CAT, DOG, BLUE], ""),
    ],
)
def test_validation_of_another_palette_than_training_is_refused(train, val, says, tmp_path):
    for split, colours in (("train", train), ("val", val)):
        case = Case(PLAIN, [(palette_png(IDS, colours), IDS)] * 2)
        made(tmp_path, case, masks=f"{split}/masks", images=f"{split}/images")
    readers = [FolderMasks(tmp_path, split) for split in ("train", "val")]
    if not says:
        check_same_names(readers[1].info, readers[0].info, reader="the validation reader")
        return
    with pytest.raises(DataError, match=f"the validation reader differs in its masks: {says}"):
        check_same_names(readers[1].info, readers[0].info, reader="the validation reader")


def test_colour_that_is_another_class_in_validation_is_refused(tmp_path):
    for split, ids in (("train", BINARY), ("val", FEW)):
        colours = [SKY, RED, RED] if split == "val" else [SKY, RED]
        case = Case(PLAIN, [(palette_png(ids, colours), ids)] * 2)
        made(tmp_path, case, masks=f"{split}/masks", images=f"{split}/images")
    train, val = (FolderMasks(tmp_path, split).info for split in ("train", "val"))
    with pytest.raises(DataError, match=r"palettes show 'dog' as \(255, 0, 0\), which was 'cat' before"):
        check_same_names(val, train, reader="the validation reader")


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (Case(PLAIN, [(palette_png(IDS, [RED, BLUE, WHITE]), IDS)]), r"the index is the id \(0 \(255, 0, 0\), 1 \("),
        (Case(PLAIN, [(adaptive(FEW, GREYS), FEW)]), "the grey value is the id, not the index"),
        (Case(COLOURED, [(adaptive(FEW, [SKY, CAT, DOG]), FEW)]), "read by the colours of classes.txt"),
    ],
)
def test_rule_of_a_set_is_logged(case, says, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        result = scan(FolderMasks(made(tmp_path, case), "val", val_share=1.0))
    assert re.search(says, caplog.text)
    assert any(re.search(says, note["note"]) for note in result.manifest["notes"])


def camvid_tree(root: Path, masks: Sequence[bytes]) -> Path:
    for i, data in enumerate(masks):
        written(root / "CamVid" / "train" / f"{i}.png", rgb_png(pixels(3, 4, 3, seed=i)))
        written(root / "CamVid" / "trainannot" / f"{i}.png", data)
    lines = [f"CamVid/train/{i}.png CamVid/trainannot/{i}.png\n" for i in range(len(masks))]
    written(root / "CamVid" / "train.txt", "".join(lines).encode())
    return root


def test_camvid_in_palettes_is_read_by_its_colours(tmp_path):
    colours = list(CLASSES.values())[:3]
    masks = [palette_png(2 - IDS, colours[::-1]), adaptive(FEW, colours), rgb_png(shown(IDS, colours))]
    reader = CamVid(camvid_tree(tmp_path, masks), "train")
    assert [reader[i]["mask"].tolist() for i in range(3)] == [IDS.tolist(), FEW.tolist(), IDS.tolist()]


def test_camvid_of_other_colours_is_refused_by_entry(tmp_path):
    with pytest.raises(DataError, match=r"0\.png: mask uses colours of no class: entry 2 is \(255, 0, 0\)"):
        scan(CamVid(camvid_tree(tmp_path, [palette_png(IDS, [*list(CLASSES.values())[:2], RED])]), "train"))
