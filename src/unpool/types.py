"""The vocabulary: every name that crosses a package boundary.

Axis letters, used in comments and docstrings everywhere:
B batch, C channels, H height, W width, K keypoints, N boxes, T tokens, E embedding.
Images are (B, C, H, W), sizes (height, width), coordinates (x, y) in pixels, boxes xyxy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

Activation = Literal["softmax", "sigmoid"]  # makes probabilities of logits: that add up to 1, or one a class alone
MEASURED, ENROLLED, PAIRED = range(3)  # an image is searched for, searched among, or stands in pairs only
CALIBRATING = -1  # in place of a fold: the pair chooses the threshold, and nothing is measured on it
IGNORE = 255  # the mask value that no loss and no metric sees; every reader maps its own "void" to it

BATCH_KEYS = {
    "image": "(B, C, H, W) uint8 as decoded, float32 once prepared; of pairs the second image's channels come last",
    "label": "(B,) int64 class",
    "mask": "(B, H, W) int64 class of each pixel, or IGNORE",
    "keypoints": "(B, K, 2) float32 x, y",
    "visible": "(B, K) bool",
    "clean": "(B, C, H, W) the image before noise",
    "identity": "(B,) int64 person, or whatever embeddings are of; those of training first, from 0 on",
    "role": "(B,) int64 MEASURED, ENROLLED or PAIRED: what an image is for where people are searched",
    "position": "(B,) int64 number of the image in its set, by which `pairs` name it",
    "pairs": "list of B tensors (N, 3) int64: position of another image, 1 for the same person, fold or CALIBRATING",
    "embedding": "(B, E) float32 of length 1",
    "boxes": "list of B tensors (N, 4) float32 xyxy, from the outer edge of the first pixel",
    "labels": "list of B tensors (N,) int64 class of each box",
    "crowd": "list of B tensors (N,) bool: the box surrounds many things, and answers within it are not counted",
    "difficult": "list of B tensors (N,) bool: nobody need find it, and who does is not counted",
    "masks": "list of B tensors (N, H, W) bool",
    "proposals": "list of B tensors (N, 4) float32 xyxy: regions that may show a thing, the likeliest first",
    "people": "list of B tensors (N, K, 2) float32, NaN where a joint is not known",
    "areas": "list of B tensors (N,) float32 pixels that each thing or person covers",
    "ignored": "list of B tensors (N, 6) float32 xyxy, area, 1 for a crowd, else 0: people that OKS-AP does not count",
    "replaced": "(B,) int64 position of the sample that could not be read, in whose stead this one is; -1 for none",
    "captions": "list of B tensors (T,) uint8: the captions of each image as UTF-8, one a line",
    "text": "list of B tensors (T,) int64 what each image says, class by class of its alphabet",
    "disparity": "(B, H, W) float32 pixels by which the right image shows a point further left, NaN where not known",
    "other_disparity": "(B, H, W) float32 the same of the right image's points, further right in the left one",
    "flow": "(B, 2, H, W) float32 pixels to the right and down to where the second image shows it, NaN: not known",
    "hidden": "(B, H, W) bool: the second image of a pair does not show it",
    "other_hidden": "(B, H, W) bool: the first image of a pair does not show it; of the second image",
    "index": "(B,) int64 position in the reader",
    "area": "(B,) float32 pixels that the person covers",
    "size_hw": "(B, 2) int64 size of the image on which targets lie: as decoded, or the window of an augmentation",
    "valid_xyxy": "(B, 4) float32 box of the network's input that shows the image on which targets lie, see ops.layout",
    "shown_xyxy": "(B, 4) float32 box around what the training window shows of the image, of normalisation by image",
    "planned_maps": "(B, 3, 3) float64 from each window to its image, of images that the device is to augment",
    "planned_colours": "(B, C, C + 1) float64 matrices of `ops.colour` for the same",
    "planned_epoch": "(B,) int64 of which the same are drawn",
    "partner": "(B,) int64 position in the batch of the sample mixed in",
    "mix": "(B,) float32 share of the sample itself",
}

Sample = dict[str, Tensor]  # one item of a reader: the keys above without their leading B
Batch = dict[str, Any]  # each value a tensor with leading B, or a list of B tensors
Prediction = dict[str, Any]  # the targets' keys and `score`


class Term(NamedTuple):
    """One named part of a loss, which adds `weight * S / N` to what the optimiser minimises.

    S and N are the totals of `sum` and `count` over all batches that are accumulated for one step; where nothing was
    counted, N is 1.
    """

    sum: Tensor
    count: Tensor  # type: ignore[assignment]  # stands before tuple.count
    weight: float = 1.0


Losses = dict[str, Term]


class Fault(NamedTuple):
    """One thing wrong with one file."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """Describes the classes and keypoints of a data set; kept in the model file.

    Attributes:
        classes: names by index.
        palette: one RGB colour a class, for masks and drawings.
        ignore: the value of unlabelled pixels in the user's own mask files.
        keypoints: names by index.
        flip_pairs: keypoints that trade places in a mirror.
        limbs: keypoints that a line joins.
        mask_rule: how mask files are read (`data/mask_ids.py`); empty where there are none.
        mask_colours: class and the colour that palettes show it in, where their indices are ids.
        class_ids: id of each class in the annotation file, where that has ids of its own, such as COCO's.
        synsets: of WordNet, one a class, where the set has them; "" where one is not known.
        tree: (parent, child) of synsets above the classes, of which the hierarchical error is computed.
        words: that captions are made of, the most frequent first; those of the training set.

    >>> DataInfo(keypoints=("head", "tail"), limbs=((0, 1),)).to_json()["limbs"]
    ((0, 1),)
    """

    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore: int | None = None
    keypoints: tuple[str, ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()
    limbs: tuple[tuple[int, int], ...] = ()
    mask_rule: str = ""
    mask_colours: tuple[tuple[int, tuple[int, int, int]], ...] = ()
    class_ids: tuple[int, ...] = ()
    synsets: tuple[str, ...] = ()
    tree: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataInfo":
        """Returns the object from what `to_json` returned, also after JSON made its tuples lists.

        Raises:
            KeyError: a key is missing that every version wrote: classes, palette, ignore, keypoints, flip_pairs.
        """
        return cls(
            classes=tuple(values["classes"]),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in values["palette"]),
            ignore=values["ignore"],
            keypoints=tuple(values["keypoints"]),
            flip_pairs=tuple((int(a), int(b)) for a, b in values["flip_pairs"]),
            limbs=tuple((int(a), int(b)) for a, b in values.get("limbs", ())),
            mask_rule=str(values.get("mask_rule", "")),
            mask_colours=tuple((int(c), (int(r), int(g), int(b))) for c, (r, g, b) in values.get("mask_colours", ())),
            class_ids=tuple(map(int, values.get("class_ids", ()))),
            synsets=tuple(map(str, values.get("synsets", ()))),
            tree=tuple((str(parent), str(child)) for parent, child in values.get("tree", ())),
            words=tuple(map(str, values.get("words", ()))),
        )


Exif = Literal["apply", "ignore"]
Range = tuple[float, float]  # the values that are black and white
Background = int | tuple[int, int, int]  # a grey value, or red, green and blue
MOST_PIXELS = 100_000_000  # of an image, unless more are asked for
TargetExif = Literal["apply", "ignore", "image"]  # "image" turns images only: their masks are upright already


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the pixels of an image file are read.

    Attributes:
        channels: of the tensor: 1 for grey, 3 for RGB, any other number for as many bands.
        exif: whether the image is turned as its EXIF orientation says.
        range: (black, white) of files of more than 8 bits, signed values or floating point; None where they say it, or
            where `set_range` is theirs.
        set_range: (black, white) of those of them that do not say it, as the scan of the training split found it.
        bands: of the file, counted from 1 with alpha, one a channel; None for all but alpha.
        background: of 0 to 255, on which transparent pixels are laid; None reads the colour that is hidden under them.
        max_pixels: of an image; larger ones are refused by their header.
    """

    channels: int = 3
    exif: Exif = "apply"
    range: Range | None = None
    set_range: Range | None = None
    bands: tuple[int, ...] | None = None
    background: Background | None = None
    max_pixels: int = MOST_PIXELS


GREY, RGB = Decoding(channels=1), Decoding()


class Backbone(nn.Module):
    """Returns one feature map per stride it has, fine to coarse: (B, channels[i], about H/strides[i], W/strides[i])."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]


class Auxiliary(NamedTuple):
    """Output of a network with auxiliary heads, in every mode; the task weighs the parts.

    Attributes:
        logits: output of the main head, which the prediction is computed from.
        auxiliary: outputs of the auxiliary heads, the one nearest the input first; each of the same kind as `logits`.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]


class Stages(NamedTuple):
    """Output of a network of several stages, in every mode.

    Attributes:
        heatmaps: (B, K, h, w) of each stage; the last is the answer.
    """

    heatmaps: tuple[Tensor, ...]


class CoordinateStages(NamedTuple):
    """Output of a cascade that regresses coordinates, in every mode.

    Attributes:
        coordinates: (B, 2K) of each stage: x and y of joint after joint, the image from -0.5 to 0.5; the last is the
            answer.
    """

    coordinates: tuple[Tensor, ...]


class FieldStages(NamedTuple):
    """Output of a network of several stages that also finds limbs, in every mode.

    Attributes:
        fields: (B, 2 * limbs, h, w) of each stage: x and y of each limb's direction.
        heatmaps: (B, K + 1, h, w) of each stage, the background last; the last stage is the answer.
    """

    fields: tuple[Tensor, ...]
    heatmaps: tuple[Tensor, ...]


class AnchoredBoxes(NamedTuple):
    """Output of a detector of one stage, in every mode; its attribute `box_weights` goes with `ops.boxes.decode`.

    Attributes:
        scores: (B, A, K) logits of each anchor for independent classes, or (B, A, K + 1) with the background first for
            classes that exclude one another.
        deltas: (B, A, 4) from anchors to boxes.
        anchors: (A, 4) xyxy in pixels of the input.
        level: (A,) int64 the map that each anchor belongs to; of each map the best answers are kept.
    """

    scores: Tensor
    deltas: Tensor
    anchors: Tensor
    level: Tensor


class GridBoxes(NamedTuple):
    """Output of a detector whose cells each answer for the things whose middle lies in them, in every mode.

    All numbers are as the last layer gives them, of any size; `ops.grid` has what they stand for.

    Attributes:
        classes: (B, rows, columns, K) of a cell, each class's probability if a thing is there.
        confidences: (B, rows, columns, P) of a predictor of a cell, its IoU with the thing that it answers for.
        boxes: (B, rows, columns, P, 4) x and y of the middle in sides of the cell, square roots of width and height in
            sides of the input.
    """

    classes: Tensor
    confidences: Tensor
    boxes: Tensor


class ProposedRegions(NamedTuple):
    """What a detector of two stages gives for an image, in every mode; `model.classify(maps, boxes, input_hw)` goes on.

    Attributes:
        maps: (B, C, h, w) each, of which the second stage reads regions.
        objectness: (B, A) logit of each anchor.
        deltas: (B, A, 4) from anchors to boxes, all weights 1.
        anchors: (A, 4) xyxy in pixels of the input.
        level: (A,) int64 the map that each anchor belongs to; proposals of one map suppress one another.
    """

    maps: tuple[Tensor, ...]
    objectness: Tensor
    deltas: Tensor
    anchors: Tensor
    level: Tensor


class RegionMaps(NamedTuple):
    """What a detector of given proposals gives for an image, in every mode; `model.classify(maps, boxes, input_hw)`
    goes on, as of `ProposedRegions`.

    Attributes:
        maps: (B, C, h, w) each, of which regions are read.
    """

    maps: tuple[Tensor, ...]


class ClassifiedRegions(NamedTuple):
    """What the second stage says of R regions of a batch, image after image; `box_weights` goes with its deltas.

    Attributes:
        scores: (R, K + 1) logits, the background first, for classes that exclude one another; (R, K) margins of
            independent ones.
        deltas: (R, K + 1, 4), or (R, K, 4), from regions to boxes, one of each class; None where regions stay as they
            were proposed.
    """

    scores: Tensor
    deltas: Tensor | None


class LocatedBoxes(NamedTuple):
    """Output of a classifier that also regresses boxes, in every mode.

    Attributes:
        scores: (B, K) logits; of exactly N things an image (B, N, K).
        boxes: (B, 4) left, top, right, bottom, the image from -0.5 to 0.5; (B, K, 4) one for each class; of exactly N
            things (B, N, 4) or (B, N, K, 4).
    """

    scores: Tensor
    boxes: Tensor


class Part(NamedTuple):
    """The samples of a whole batch that one of several processes takes: `count` of its `total`, from `first` on.

    Where `count` is 0 the process has a sample of another's, to go through the step with, which counts nowhere.
    """

    first: int
    count: int  # type: ignore[assignment]  # stands before tuple.count
    total: int


class Metric(Protocol):
    """Counts over a whole set; `compute` reads plain numbers from them, None where there is nothing to count."""

    def update(self, prediction: Prediction, batch: Batch) -> None: ...
    def merge(self, other: Any) -> None:
        """Adds the counts of another part of the set."""

    def compute(self) -> dict[str, Any]: ...


class Reader(Protocol):
    """One format on disk, one split of it.

    Attributes:
        gives: batch keys of each sample.
        info: class names and the like.
        names: one name a sample, its path below the root with "/" between parts.
        faults: files left out while the list was made, with the reason.
    """

    gives: tuple[str, ...]
    info: DataInfo
    names: Sequence[str]
    faults: list[Fault]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


class Samples(Protocol):
    """A reader after its scan: only what can be read, sizes known, safe to hand to worker processes.

    `targets` gives a sample's targets alone, where possible without decoding the image.
    """

    gives: tuple[str, ...]
    info: DataInfo
    names: Sequence[str]
    sizes_hw: Sequence[tuple[int, int]]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
    def targets(self, index: int) -> Sample: ...


# samples of one batch and the epoch -> the batch; a pure function of its arguments and its own seed
Transform = Callable[[list[Sample], int], Batch]
