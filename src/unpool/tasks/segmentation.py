"""Semantic segmentation: one class a pixel.

Masks are never resized. In training the scores must have the size of the mask. In evaluation, where the network saw a
resized image and the mask kept the size of the file, the scores are resized to the mask, for loss and argmax alike.

The heads beside a network's own (PSPNet, arXiv:1612.01105, section 3.3) take part in training only: their losses are
added with `auxiliary_weight`, and their scores must have the size of the mask too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.limits import WEIGHT, AuxiliaryWeight, check_number
from unpool.metrics.segmentation import MaskScores
from unpool.ops.drawing import WRONG, complete_palette, overlay, show_errors
from unpool.ops.layout import Layout, resample, shown_part
from unpool.ops.losses import LEAST_COUNT
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.targets import check_classes
from unpool.ops.tiling import Piece, predict_scores, resized_bands, tile_sides
from unpool.ops.views import mean_probabilities
from unpool.task import Baseline, Description, Exhibit, Explained
from unpool.tasks.auxiliary import Output, loss_of_heads, main_head
from unpool.tasks.class_losses import (
    FOCAL_GAMMA,
    PIXEL_LOSSES,
    Gamma,
    PixelLossNames,
    check_gamma,
    check_pixel_losses,
)
from unpool.tasks.class_weights import ClassWeights, choose_class_weights
from unpool.tasks.colour_baseline import colour_bin_baseline
from unpool.tasks.one_forward import Maps
from unpool.tasks.region_explained import explained_region
from unpool.types import IGNORE, Activation, Batch, DataInfo, Losses, Prediction, Samples, Term

LIMIT = 2_400_000  # pixels (B * H * W) that go through a network at once
BRIEF = 3  # classes in one line about an image
BAND = 2**24  # scores (B * N * H * W) that are resized, or of which loss and answer are taken, at once


class Segmentation(Maps):
    """Per-pixel cross-entropy, the likeliest class of each pixel, mean intersection over union.

    Outside of training, what is held of a batch is its scores (B, N, H, W), once, at the size that the network sees,
    and the answer. The network's own maps are those of `LIMIT` pixels or one tile; what loss and answer compute on the
    way is of `BAND` numbers. Where the scores of a batch are too much, evaluate fewer images at once.

    Args:
        info: class names and palette.
        loss: "cross_entropy" or "focal" of pixels, "dice" or "lovasz" of the pixels of an image together, or a list of
            these, which are added.
        focal_gamma: of "focal": how much less pixels count that are right already.
        class_weights: of "cross_entropy" and "focal": None or "natural" weighs every pixel alike; "median" by median
            frequency and "sqrt_median" by its square root, both counted in `samples`; or one number a class.
        samples: the training set.
        preprocessing: what the images go through, so that padding up to a multiple is cut off the scores again.
        auxiliary_weight: of the loss of each auxiliary head, where the network has any; 0.4 is PSPNet's.

    Attributes:
        class_weights: (N,) float32, or None.
    """

    needs = ("image", "mask")
    published = MappingProxyType({"voc": "folder_unet"})
    files = ("mask.png",)
    maps: Mapping[str, torch.dtype] = {"mask": torch.uint8, "score": torch.float32}
    best = "mean_iou"
    takes = ("maps",)
    views = ("flip", "colors", "rotations")
    averages = "probabilities of the classes, pixel by pixel"
    joins_networks = True
    class_weights: Tensor | None

    def __init__(
        self,
        info: DataInfo,
        *,
        loss: PixelLossNames = "cross_entropy",
        focal_gamma: Gamma = FOCAL_GAMMA,
        class_weights: ClassWeights = None,
        samples: Samples | None = None,
        preprocessing: Preprocessing | None = None,
        auxiliary_weight: AuxiliaryWeight = 0.4,
    ) -> None:
        super().__init__()
        if not 2 <= len(info.classes) <= IGNORE:
            raise RecipeError(f"segmentation needs 2 to {IGNORE} classes; the data set gives {len(info.classes)}")
        preprocessing = preprocessing or Preprocessing()
        preprocessing.check_borders("that segmentation must label")
        self.info = info
        self.multiple = preprocessing.multiple
        self.palette = complete_palette(info.palette, len(info.classes))
        weights = choose_class_weights(class_weights, samples, num_classes=len(info.classes))
        self.register_buffer("class_weights", weights, persistent=False)
        self.loss_names = check_pixel_losses(loss, has_weights=weights is not None)
        self.focal_gamma = check_gamma(focal_gamma, self.loss_names)
        self.auxiliary_weight = check_number("task.auxiliary_weight", auxiliary_weight, WEIGHT)

    @property
    def outputs(self) -> int:
        """One score a class."""
        return len(self.info.classes)

    @property
    def activation(self) -> Activation:
        """That of the losses, which is the same for all."""
        return PIXEL_LOSSES[self.loss_names[0]].activation

    @property
    def described(self) -> Mapping[str, Description]:
        return {
            "mean_iou": Description("mean IoU", is_share=True),
            "pixel_accuracy": Description("pixel accuracy", is_share=True),
            "class_accuracy": Description("class accuracy", is_share=True),
            "iou": Description("IoU", is_share=True, each="class"),
            "recall": Description("Recall", is_share=True, each="class"),
            "precision": Description("Precision", is_share=True, each="class"),
            "boundary_iou": Description("mean boundary IoU", is_share=True),
            "boundary_iou_by_class": Description("Boundary IoU", is_share=True, each="class"),
            "recall_by_size": Description(
                "Recall where the class covers a share of the image", is_share=True, each="size"
            ),
            "ece": Description("calibration error (ECE)", is_share=True, higher_is_better=False),
            "confusion": Description("Confusion", unit="pixels", each="class", is_matrix=True),
            "calibration": Description("Calibration", unit="pixels", each="bin", is_calibration=True),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        """Scores (B, N, H, W); in training with those of auxiliary heads, where the network has any.

        Outside of training, what is larger than `LIMIT` goes through in parts.
        """
        if model.training:
            return model(inputs["image"])
        sides = tile_sides(model, multiple=self.multiple)
        return predict_scores(lambda image: main_head(model(image)), inputs["image"], limit=LIMIT, **sides)

    def check(self, batch: Batch) -> None:
        """Raises DataError where a pixel is no class; reads the mask once, waits for the device if it is not here."""
        check_classes(batch, len(self.info.classes))

    def loss(self, output: Output, batch: Batch) -> Losses:
        """The losses of labelled pixels, of every head, under their names.

        Raises:
            RecipeError: the network gives another number of scores than classes, or scores of another size.
            DataError: a pixel of a mask on the host is no class.
        """
        return loss_of_heads(output, lambda scores: self._terms(scores, batch), weight=self.auxiliary_weight)

    def _terms(self, output: Tensor, batch: Batch) -> Losses:
        self._check_classes(output)
        if any(PIXEL_LOSSES[name].is_of_sets for name in self.loss_names) and output.device.type == "cpu":
            self.check(batch)  # these compare classes, and would not notice one out of range
        terms: dict[str, list[Term]] = {name: [] for name in self.loss_names}
        for part, mask in zip(_parts(output.float(), batch), _each(batch["mask"]), strict=True):
            _check_sizes(output, part.size_hw, mask, batch)
            for name in self.loss_names:
                compute, is_of_sets, _ = PIXEL_LOSSES[name]
                for scores, rows in _of_images(part, mask) if is_of_sets else _of_bands(part, mask):
                    try:
                        terms[name].append(compute(scores, rows, self.class_weights, self.focal_gamma))
                    except IndexError:  # the host's kernel found a class out of range; say where
                        self.check(batch)
                        raise
        return {name: _added(of_parts) for name, of_parts in terms.items()}

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """Most likely class of each pixel of the image of `size_hw`, or of the scores where that is not known.

        Returns:
            mask (B, H, W) int64 and score (B, H, W), the probability of that class; lists of B where sizes differ.
        """
        answered = main_head(output).float()
        masks, scores = [], []
        for part in _parts(answered, inputs):
            count = len(part.scores)
            mask = torch.empty(count, *part.size_hw, dtype=torch.int64, device=answered.device)
            score = torch.empty(count, *part.size_hw, device=answered.device)
            for band in _bands(part):
                best, mask[:, band.rows] = band.scores.max(1)
                score[:, band.rows] = (best - band.scores.logsumexp(1)).exp()
            masks.append(mask)
            scores.append(score)
        if len(masks) == 1 and len(masks[0]) == len(answered):
            return {"mask": masks[0], "score": scores[0]}
        return {"mask": [mask[0] for mask in masks], "score": [score[0] for score in scores]}

    def explained(self, model: nn.Module, inputs: Batch, target: str | None) -> Explained:
        """The mean score of a class over the pixels that are answered as it, or over a box of the image.

        Args:
            model: in evaluation mode.
            inputs: of one image.
            target: a class, or `class@left,top,right,bottom` in pixels of the image; None takes the class of most
                pixels.

        Raises:
            RecipeError: there is no such class, no pixel is answered as it, or the box holds none.

        Source: Vinogradova et al. 2020, arXiv:2002.11434, equation 2, whose sum is a mean here.
        """
        with torch.no_grad():
            answered = main_head(model(inputs["image"]))[0].argmax(0)
        return explained_region(model, inputs, answered, target, classes=self.info.classes)

    def averaged(self, outputs: Sequence[Output]) -> Tensor:
        """Scores (B, N, H, W) of the mean probability of each class."""
        return mean_probabilities([main_head(output).float() for output in outputs])

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return prediction

    def metric(self) -> MaskScores:
        return MaskScores(self.info.classes)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 under the colours of its mask (H, W)."""
        return overlay(image, target["mask"], self.palette)

    @property
    def legend(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """The colour of each class, and that of a wrong pixel on the map of errors."""
        return (*zip(self.info.classes, self.palette, strict=True), ("wrong, on the map of errors", WRONG))

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """Image, truth, answer, and where the two differ."""
        truth, answer = target["mask"].cpu(), record["mask"].cpu()
        is_wrong = (truth != answer) & (truth != IGNORE)
        labelled = int((truth != IGNORE).sum())
        share = f"{1 - int(is_wrong.sum()) / labelled:.1%} of the labelled pixels right" if labelled else "no labels"
        shown = super().exhibit(image, target, record)
        return Exhibit((*shown.pictures, ("errors", show_errors(image, is_wrong))), caption=share)

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """`<stem>_mask.png`, whose values are classes, in the palette's colours; the record has each class's share."""
        path = stem.with_name(f"{stem.name}_mask.png")
        mask: Tensor = record["mask"]
        picture = Image.fromarray(mask.numpy())
        picture.putpalette([value for colour in self.palette for value in colour])
        picture.save(path)
        counts = torch.bincount(mask.flatten(), minlength=IGNORE + 1)
        shares = {name: int(counts[i]) / mask.numel() for i, name in enumerate(self.info.classes)}
        return {"mask": path.name, "shares": shares}

    def brief(self, written: Mapping[str, Any]) -> str:
        """The largest shares of the image."""
        largest = sorted(written["shares"].items(), key=lambda pair: -pair[1])[:BRIEF]
        return ", ".join(f"{name} {share:.0%}" for name, share in largest if share)

    def sure_mistake(self, prediction: Prediction, batch: Batch) -> float | None:
        """The mean over labelled pixels of the probability of their wrong class, 0 where they are right."""
        truth, answer, score = batch["mask"][0], prediction["mask"][0], prediction["score"][0]
        answer, score, labelled = answer.to(truth.device), score.to(truth.device), truth != IGNORE
        is_wrong = (answer != truth) & labelled
        return float(score[is_wrong].sum() / labelled.sum()) if bool(is_wrong.any()) else None

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline:
        about = "A classifier that sees only the colour of each pixel; what is above it is owed to shape and texture."
        return Baseline("mean_iou", colour_bin_baseline(train, val, len(self.info.classes)), about)

    def saved(self) -> dict[str, Any]:
        return {} if self.class_weights is None else {"class_weights": self.class_weights.tolist()}

    def _check_classes(self, output: Tensor) -> None:
        if output.dim() != 4 or output.shape[1] != len(self.info.classes):
            raise RecipeError(
                f"the network gives {tuple(output.shape)} where (B, {len(self.info.classes)}, H, W) was due; "
                f"build a segmentation network with num_classes={len(self.info.classes)}"
            )


class _Part(NamedTuple):
    """Scores of images that lie alike in the input.

    Attributes:
        scores: (b, N, h, w), those of the input or a part of it.
        valid_xyxy: the box of them that shows the images.
        size_hw: of the images.
    """

    scores: Tensor
    valid_xyxy: tuple[float, ...]
    size_hw: tuple[int, int]


def _check_sizes(output: Tensor, size_hw: tuple[int, int], mask: Tensor, batch: Batch) -> None:
    scores, mask_hw, image = (tuple(one.shape[-2:]) for one in (output, mask, batch["image"]))
    if scores != image or mask_hw != size_hw:
        raise RecipeError(
            f"scores are {scores}, the mask is {mask_hw} and the image {size_hw}, seen as {image} (H, W); they must "
            "agree: make the decoder upsample to the input size, or give image and mask the same size"
        )


def _each(masks: Tensor | list[Tensor]) -> list[Tensor]:
    """A stack as one (B, H, W), a list as B of (1, H, W)."""
    return [masks] if isinstance(masks, Tensor) else [mask[None] for mask in masks]


def _added(terms: Sequence[Term]) -> Term:
    total = torch.stack([term.sum for term in terms]).sum()
    count = torch.stack([term.count for term in terms]).sum()
    return Term(total, count.clamp_min(LEAST_COUNT))


def _parts(scores: Tensor, batch: Batch) -> list[_Part]:
    """The whole batch where all images lie alike, else its samples, with what shows the image."""
    (height, width), mask = scores.shape[-2:], batch.get("mask")
    if isinstance(mask, Tensor) and mask.shape[-2:] == scores.shape[-2:]:  # without reading boxes from the device
        return [_Part(scores, (0, 0, width, height), (height, width))]
    layout = Layout.of(batch)
    lies = list(zip(layout.valid_xyxy.tolist(), layout.size_hw.tolist(), strict=True))
    is_alike = not isinstance(mask, list) and all(one == lies[0] for one in lies)
    parts = [scores] if is_alike else scores.split(1)
    return [_Part(*shown_part(part, box), (h, w)) for part, (box, (h, w)) in zip(parts, lies, strict=False)]


def _bands(part: _Part) -> Iterator[Piece]:
    """Scores at the size of the images, in bands of rows; at once where a gradient is wanted, which holds all bands."""
    scores, (height, width) = part.scores, part.size_hw
    rows = max(1, BAND // (scores.shape[0] * scores.shape[1] * width))
    if height > rows and not scores.requires_grad:
        yield from resized_bands(scores, part.size_hw, limit=rows * width, valid_xyxy=part.valid_xyxy)
        return
    yield Piece(slice(0, height), slice(0, width), resample(scores, part.valid_xyxy, part.size_hw))


def _of_bands(part: _Part, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores and mask of bands of rows."""
    return ((band.scores, mask[:, band.rows]) for band in _bands(part))


def _of_images(part: _Part, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores and mask of one image after the other, each as a whole."""
    for scores, one in zip(part.scores.split(1), mask.split(1), strict=True):
        yield resample(scores, part.valid_xyxy, part.size_hw), one
