"""What the tests know of each task: a row for each one of `TASKS`."""

from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.ops.skeleton import LSP, LSP_LIMBS
from unpool.ops.words import as_bytes
from unpool.types import DataInfo

B, SIDE = 3, 16
INFO = DataInfo(
    classes=("a", "b", "c"), keypoints=("left_shoulder", "right_hip"), limbs=((0, 1),), words=("dog", "runs", "fast")
)
GENERATOR = torch.Generator().manual_seed(0)
IDENTITIES = cycle([torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])])


class Row(NamedTuple):
    """One task.

    Attributes:
        output: kind of the network's output, of `network_of` in test_answers.py.
        targets: makes random ones for B images of `SIDE` pixels with the names of `INFO`, others at each call.
        written: what `write` may return.
        brief: what `predict` prints of it.
        printed: how the output of examples/datasets/<task>.py begins.
        plain: makes the target of image i of 32 pixels, as a data set of one's own has it.
        classes: names in that set.
    """

    output: str
    targets: Callable[[], dict[str, Any]]
    written: Mapping[str, Any]
    brief: str
    printed: str
    plain: Callable[[int], Any]
    classes: tuple[str, ...] | DataInfo = LSP


def whole_numbers(most: int, *shape: int) -> Tensor:
    return torch.randint(0, most, shape, generator=GENERATOR)


def points(*shape: int) -> Tensor:
    return SIDE * torch.rand(*shape, 2, generator=GENERATOR)


def boxes(count: int) -> Tensor:
    low = points(count) / 2
    return torch.cat([low, low + 4 + points(count) / 4], dim=1)


def masks(count: int) -> Tensor:
    return torch.rand(count, SIDE, SIDE, generator=GENERATOR) < 0.5


def captions() -> dict[str, Any]:
    """One or two of random words for each image."""
    chosen = whole_numbers(3, B, 4).tolist()
    return {"captions": [as_bytes([" ".join(INFO.words[i] for i in one), INFO.words[one[0]]]) for one in chosen]}


def things() -> dict[str, Any]:
    return {"boxes": [boxes(n) for n in (1, 2, 0)], "labels": [torch.arange(n) for n in (1, 2, 0)]}


def people() -> dict[str, Any]:
    return {"people": [points(n, 2) for n in (1, 2, 0)]}


def one_person() -> dict[str, Any]:
    return {"keypoints": points(B, 2), "visible": torch.ones(B, 2, dtype=torch.bool)}


def joints(i: int) -> Tensor:
    return torch.arange(28.0).view(14, 2) + i


def one_box(i: int) -> dict[str, Any]:
    return {"boxes": [[i, i, i + 9.0, i + 14.0]], "labels": [i % 2]}


EVERY_TASK = {
    "captions": Row(
        output="words",
        targets=captions,
        written={"caption": "a dog runs", "score": -3.5},
        brief="a dog runs",
        printed="BLEU-4: ",
        plain=lambda i: f"a {('dog', 'cat')[i % 2]} runs",
        classes=("a", "dog", "cat", "runs"),
    ),
    "classification": Row(
        output="vector",
        targets=lambda: {"label": whole_numbers(3, B)},
        written={"class": "bee", "score": 0.934},
        brief="bee 0.93",
        printed="top-1 1.00, report in ",
        plain=lambda i: i % 2,
        classes=("a", "b"),
    ),
    "denoising": Row(
        output="maps",
        targets=lambda: {"clean": whole_numbers(256, B, 3, SIDE, SIDE).to(torch.uint8)},
        written={"clean": "x_clean.png"},
        brief="x_clean.png",
        printed="PSNR ",
        plain=lambda i: torch.full((3, 32, 32), 8 * i, dtype=torch.uint8),
    ),
    "detection": Row(
        output="boxes",
        targets=things,
        written={"classes": ["bee", "ant", "bee"], "score": [0.9, 0.7, 0.5]},
        brief="1 ant, 2 bee",
        printed="AP at IoU 0.5: ",
        plain=one_box,
        classes=("a", "b"),
    ),
    "embedding": Row(
        output="vector",
        targets=lambda: {"identity": next(IDENTITIES)},
        written={"embedding": [0.6, 0.8]},
        brief="an embedding of 2 numbers",
        printed="right person first: ",
        plain=lambda i: i % 2,
        classes=("a", "b"),
    ),
    "flow": Row(
        output="maps",
        targets=lambda: {"flow": 4 * torch.randn(B, 2, SIDE, SIDE, generator=GENERATOR)},
        written={"flow": "a.flo", "mean_length": 1.5},
        brief="a.flo, 1.5 pixels in the mean",
        printed="off by ",
        plain=lambda i: torch.full((2, 32, 32), i % 3),
    ),
    "instances": Row(
        output="masks",
        targets=lambda: {**things(), "masks": [masks(n) for n in (1, 2, 0)]},
        written={"classes": ["bee", "ant", "bee"], "score": [0.9, 0.7, 0.4]},
        brief="1 ant, 1 bee",
        printed="mask AP ",
        plain=lambda i: {"masks": torch.ones(1, 32, 32).tril(), "labels": [i % 2]},
        classes=("a", "b"),
    ),
    "localization": Row(
        output="located",
        targets=lambda: {"boxes": list(points(B, 1, 2).flatten(2)), "labels": list(whole_numbers(3, B, 1))},
        written={"classes": ["bee"], "score": [0.934], "boxes": [[1.2, 2, 3, 4]]},
        brief="bee 0.93 at 1 2 3 4",
        printed="mean IoU: ",
        plain=one_box,
        classes=("a", "b"),
    ),
    "people": Row(
        output="fields",
        targets=people,
        written={"people": [[], []], "score": [0.9, 0.5]},
        brief="2 people 0.90 0.50",
        printed="limbs joined: ",
        plain=lambda i: joints(i).repeat(2, 1, 1),
        classes=DataInfo(keypoints=LSP, limbs=LSP_LIMBS),
    ),
    "people_in_boxes": Row(
        output="joints",
        targets=lambda: {**people(), "boxes": [boxes(n) for n in (1, 2, 0)]},
        written={"score": [0.9, 0.4]},
        brief="1 person",
        printed="OKS-AP ",
        plain=lambda i: {"boxes": [[i, i, i + 28, i + 28]], "people": joints(i)[None]},
    ),
    "pose": Row(
        output="stages",
        targets=one_person,
        written={"score": [0.5, 0.75]},
        brief="2 joints 0.62",
        printed="pixels off: ",
        plain=joints,
    ),
    "pose_coordinates": Row(
        output="coordinates",
        targets=one_person,
        written={"score": [1.0, 0.0]},
        brief="2 joints 0.50",
        printed="off by ",
        plain=joints,
    ),
    "reading": Row(
        output="strings",
        targets=lambda: {"text": [whole_numbers(3, n) for n in (1, 2, 3)]},
        written={"text": "1307", "score": -0.1},
        brief="1307",
        printed="right: ",
        plain=lambda i: "ab"[: 1 + i % 2],
        classes=("a", "b"),
    ),
    "segmentation": Row(
        output="maps",
        targets=lambda: {"mask": whole_numbers(3, B, SIDE, SIDE)},
        written={"shares": {"ant": 0.0, "bee": 0.6, "wasp": 0.0, "fly": 0.4}},
        brief="bee 60%, fly 40%",
        printed="{'ground': 0.",
        plain=lambda i: torch.arange(1024).view(32, 32) // (64 + i) % 2,
        classes=("a", "b"),
    ),
    "stereo": Row(
        output="maps",
        targets=lambda: {"disparity": 9 * torch.rand(B, SIDE, SIDE, generator=GENERATOR)},
        written={"disparity": "a.png", "checked_share": 0.755},
        brief="a.png, 76% confirmed by the right image",
        printed="3 pixels off: ",
        plain=lambda i: torch.full((32, 32), i % 3),
    ),
}
