"""Semantic segmentation: one class a pixel.

Masks are never resized. In training the scores must have the size of the mask. In evaluation, where the network saw a
resized image and the mask kept the size of the file, the scores are resized to the mask, for loss and argmax alike.

The heads beside a network's own (PSPNet, arXiv:1612.01105, section 3.3) take part in training only: their losses are
added with `auxiliary_weight`, and their scores must have the size of the mask too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.metrics.segmentation import MaskScores
from unpool.ops.drawing import complete_palette, overlay
from unpool.ops.losses import LEAST_COUNT, check_classes, pixel_cross_entropy
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.tiling import Piece, predict_scores, resized_bands, stride_of
from unpool.task import Baseline, Description
from unpool.tasks.auxiliary import Output, check_weight, loss_of_heads, main_head
from unpool.tasks.borders import check_borders
from unpool.tasks.class_weights import ClassWeights
from unpool.tasks.class_weights import class_weights as class_weights_of
from unpool.tasks.colour_baseline import colour_bin_baseline
from unpool.tasks.one_forward import Maps
from unpool.types import IGNORE, Batch, DataInfo, Losses, Prediction, Samples, Term

LIMIT = 2_400_000  # pixels (B * H * W) that go through a network at once
BAND = 2**24  # scores (B * N * H * W) that are resized, or of which loss and answer are taken, at once


class Segmentation(Maps):
    """Per-pixel cross-entropy, the likeliest class of each pixel, mean intersection over union.

    Outside of training, what is held of a batch is its scores (B, N, H, W), once, at the size that the network sees,
    and the answer. The network's own maps are those of `LIMIT` pixels or one tile; what loss and answer compute on the
    way is of `BAND` numbers. Where the scores of a batch are too much, evaluate fewer images at once.

    Args:
        info: class names and palette.
        class_weights: None or "natural" weighs every pixel alike; "median" by median frequency and "sqrt_median" by its
            square root, both counted in `samples`; or one number a class.
        samples: the training set.
        preprocessing: what the images go through, so that padding up to a multiple is cut off the scores again.
        auxiliary_weight: of the loss of each auxiliary head, where the network has any; 0.4 is PSPNet's.

    Attributes:
        class_weights: (N,) float32, or None.
    """

    needs = ("image", "mask")
    published = ("voc",)
    files = ("mask.png",)
    maps: Mapping[str, torch.dtype] = {"mask": torch.uint8, "score": torch.float32}
    best = "mean_iou"
    class_weights: Tensor | None

    def __init__(
        self,
        info: DataInfo,
        *,
        class_weights: ClassWeights = None,
        samples: Samples | None = None,
        preprocessing: Preprocessing | None = None,
        auxiliary_weight: float = 0.4,
    ) -> None:
        super().__init__()
        if not 2 <= len(info.classes) <= IGNORE:
            raise RecipeError(f"segmentation needs 2 to {IGNORE} classes; the data set gives {len(info.classes)}")
        check_borders(preprocessing, "that segmentation must label")
        self.info = info
        self.preprocessing = preprocessing or Preprocessing()
        self.palette = complete_palette(info.palette, len(info.classes))
        weights = class_weights_of(class_weights, samples, num_classes=len(info.classes))
        self.register_buffer("class_weights", weights, persistent=False)
        self.auxiliary_weight = check_weight(auxiliary_weight)

    @property
    def outputs(self) -> int:
        """One score a class."""
        return len(self.info.classes)

    @property
    def described(self) -> Mapping[str, Description]:
        return {
            "mean_iou": Description("mean IoU", is_share=True),
            "pixel_accuracy": Description("pixel accuracy", is_share=True),
            "class_accuracy": Description("class accuracy", is_share=True),
            "iou": Description("IoU", is_share=True, each="class"),
            "recall": Description("Recall", is_share=True, each="class"),
            "precision": Description("Precision", is_share=True, each="class"),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        """Scores (B, N, H, W); in training with those of auxiliary heads, where the network has any.

        Outside of training, what is larger than `LIMIT` goes through in parts.
        """
        if model.training:
            return model(inputs["image"])
        stride = stride_of(model)
        return predict_scores(lambda image: main_head(model(image)), inputs["image"], limit=LIMIT, stride=stride)

    def check(self, batch: Batch) -> None:
        """Raises DataError where a pixel is no class; reads the mask once, waits for the device if it is not here."""
        index = batch.get("index")
        for position, mask in enumerate(_each(batch["mask"])):
            rows = index if len(mask) > 1 or index is None else index[position : position + 1]
            check_classes(mask, len(self.info.classes), key="mask", index=rows, ignore=IGNORE)

    def loss(self, output: Output, batch: Batch) -> Losses:
        """Cross-entropy over labelled pixels, weighted by class, of every head.

        Raises:
            RecipeError: the network gives another number of scores than classes, or scores of another size.
            DataError: a pixel of a mask on the host is no class.
        """
        return loss_of_heads(output, lambda scores: self._term(scores, batch), weight=self.auxiliary_weight)

    def _term(self, output: Tensor, batch: Batch) -> Term:
        self._check_classes(output)
        scores = self._without_padding(output, batch)
        self._check_sizes(scores, batch)
        terms = []
        for (part, size), mask in zip(_sized(scores, batch), _each(batch["mask"]), strict=True):
            for band in _bands(part, size):
                try:
                    terms.append(pixel_cross_entropy(band.scores, mask[:, band.rows], self.class_weights))
                except IndexError:  # the host's kernel found a class out of range; say where
                    self.check(batch)
                    raise
        total = torch.stack([term.sum for term in terms]).sum()
        count = torch.stack([term.count for term in terms]).sum()
        return Term(total, count.clamp_min(LEAST_COUNT))

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """Most likely class of each pixel of the image of `size_hw`, or of the scores where that is not known.

        Returns:
            mask (B, H, W) int64 and score (B, H, W), the probability of that class; lists of B where sizes differ.
        """
        answered = self._without_padding(main_head(output), inputs)
        masks, scores = [], []
        for part, size in _sized(answered, inputs):
            mask = torch.empty(len(part), *size, dtype=torch.int64, device=part.device)
            score = torch.empty(len(part), *size, device=part.device)
            for band in _bands(part, size):
                best, mask[:, band.rows] = band.scores.max(1)
                score[:, band.rows] = (best - band.scores.logsumexp(1)).exp()
            masks.append(mask)
            scores.append(score)
        if len(masks) == 1 and len(masks[0]) == len(answered):
            return {"mask": masks[0], "score": scores[0]}
        return {"mask": [mask[0] for mask in masks], "score": [score[0] for score in scores]}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return prediction

    def metric(self) -> MaskScores:
        return MaskScores(self.info.classes)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 under the colours of its mask (H, W)."""
        return overlay(image, target["mask"], self.palette)

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """`<stem>_mask.png`, whose values are classes, in the palette's colours; the record has the share of each."""
        path = stem.with_name(f"{stem.name}_mask.png")
        mask: Tensor = record["mask"]
        picture = Image.fromarray(mask.numpy())
        picture.putpalette([value for colour in self.palette for value in colour])
        picture.save(path)
        counts = torch.bincount(mask.flatten(), minlength=IGNORE + 1)
        shares = {name: int(counts[i]) / mask.numel() for i, name in enumerate(self.info.classes) if counts[i]}
        return {"mask": path.name, "shares": shares}

    def baseline(self, train: Samples, val: Samples) -> Baseline:
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

    def _without_padding(self, output: Tensor, batch: Batch) -> Tensor:
        """Scores in float32, of the image before it was padded."""
        if self.preprocessing.multiple == 1:
            return output.float()
        height, width = _target_sizes(output, batch)[0]
        if self.preprocessing.size_hw is not None and _is_file_size(batch, 0, (height, width)):
            height, width = self.preprocessing.size_hw
        return output.float()[..., :height, :width]

    def _check_sizes(self, scores: Tensor, batch: Batch) -> None:
        size, image_size = tuple(scores.shape[-2:]), tuple(batch["image"].shape[-2:])
        multiple = self.preprocessing.multiple
        is_whole = all(0 <= seen - got < multiple for seen, got in zip(image_size, size, strict=True))
        for position, mask in enumerate(batch["mask"]):
            mask_size = (mask.shape[0], mask.shape[1])
            if not is_whole or (size != mask_size and not _is_file_size(batch, position, mask_size)):
                raise RecipeError(
                    f"scores are {size}, the mask is {mask_size} and the image {image_size} (H, W); they must agree: "
                    "make the decoder upsample to the input size, or give image and mask the same size"
                )


def _is_file_size(batch: Batch, position: int, size: tuple[int, int]) -> bool:
    return "size_hw" in batch and tuple(batch["size_hw"][position].tolist()) == size


def _each(masks: Tensor | list[Tensor]) -> list[Tensor]:
    """A stack as one (B, H, W), a list as B of (1, H, W)."""
    return [masks] if isinstance(masks, Tensor) else [mask[None] for mask in masks]


def _target_sizes(output: Tensor, batch: Batch) -> list[tuple[int, int]]:
    """One size for all, or one for each sample."""
    if isinstance(batch.get("mask"), Tensor):
        return [(batch["mask"].shape[-2], batch["mask"].shape[-1])]
    if "mask" in batch:
        return [(mask.shape[-2], mask.shape[-1]) for mask in batch["mask"]]
    if "size_hw" not in batch:
        return [(output.shape[-2], output.shape[-1])]
    sizes = [(int(height), int(width)) for height, width in batch["size_hw"].tolist()]
    return sizes[:1] if len(set(sizes)) == 1 else sizes


def _sized(scores: Tensor, batch: Batch) -> list[tuple[Tensor, tuple[int, int]]]:
    """The whole batch with its one size, or each of its samples (1, N, H, W) with its own."""
    sizes = _target_sizes(scores, batch)
    parts = [scores] if len(sizes) == 1 else list(scores.split(1))
    return list(zip(parts, sizes, strict=True))


def _bands(scores: Tensor, size_hw: tuple[int, int]) -> Iterator[Piece]:
    """Scores at another size, in bands of rows; at once where a gradient, which holds every band, is wanted."""
    height, width = size_hw
    rows = max(1, BAND // (scores.shape[0] * scores.shape[1] * width))
    if height > rows and not scores.requires_grad:
        yield from resized_bands(scores, size_hw, limit=rows * width)
        return
    if tuple(scores.shape[-2:]) != size_hw:
        scores = nn.functional.interpolate(scores, size_hw, mode="bilinear", align_corners=False)
    yield Piece(slice(0, height), slice(0, width), scores)
