"""Stereo: the disparity of each pixel of the left image, from scores of all disparities.

Trained as MC-CNN (Zbontar and LeCun 2016, arXiv:1510.05970): at each visible pixel the true disparity, and one that is
wrong by a few pixels; "hinge" as its fast form (equation 3), "binary" as its accurate one (equation 4). "cross_entropy"
compares the true one with all others (Luo et al. 2016, "Efficient Deep Learning for Stereo Matching", equation 2, here
shared between the two whole disparities around the truth). Answers are what `ops.stereo` makes of the scores.

Differs from the paper: every visible pixel of a training window is learned from, where the paper draws patches.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.limits import PAIR, check_number, check_range
from unpool.metrics.pixel_errors import PixelErrors
from unpool.ops.dense_bytes import pfm_bytes
from unpool.ops.drawing_motion import disparity_colours
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.semi_global import semi_global_scores
from unpool.ops.stereo import disparities_of
from unpool.ops.tiling import Network, predict_scores, tile_sides
from unpool.task import Description, Exhibit, TrainingSetup
from unpool.tasks.one_forward import Maps, to_float32
from unpool.tasks.pair_targets import (
    DESCRIBED,
    as_input,
    beside,
    check_pairs,
    error_picture,
    in_words,
    largest,
    of_images,
)
from unpool.types import Batch, DataInfo, Losses, Prediction, Samples, Term

NUMBERS = 128_000_000  # scores (B * D * H * W) that are worked on at once
OVERLAP = 128  # rows that neighbouring parts of a large image share
LOOKED_AT = 8  # pairs, before training
SEEN = 32  # pixels that a network of models/stereo and the median behind it see to either side
DISPARITIES = Interval(ge=4, le=1024)
OFF = Interval(ge=0, le=100)  # pixels
SCALE = Interval(ge=0.01, le=1000)
Loss = Literal["hinge", "binary", "cross_entropy"]
Penalties = Annotated[Sequence[Annotated[float, OFF]], PAIR] | None
_MAPS = 2  # disparity, and whether it passed the check


class Stereo(Maps):
    """A score for each disparity; winner takes all, left-right check, interpolation and a median.

    Args:
        info: of the set; nothing of it is needed.
        disparities: that are told apart, 0 to this number less one; pixels beyond are not learned.
        loss: "hinge" of scores, "binary" cross-entropy of logits, or "cross_entropy" over all disparities.
        positive: pixels by which the true disparity is varied, to either side, as `dataset_pos` of the paper; less
            than the least of `negative`.
        negative: range of pixels by which the wrong one is off, to either side, as `dataset_neg` of the paper.
        margin: of "hinge".
        scale: what scores are multiplied by for "cross_entropy"; products of features of unit length need some.
        semi_global: penalties [by one, by more] of a change of disparity between neighbours, in the unit of the scores,
            for `ops.semi_global` in front of the winner; None takes the winner of each pixel by itself.
        preprocessing: what the images go through; must keep their size.
    """

    needs = ("image", "disparity")
    files = ("disparity.pfm",)
    takes = ("maps",)
    maps: Mapping[str, torch.dtype] = {"disparity": torch.float32, "checked": torch.bool}
    best = "bad3"
    frames = 2

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        info: DataInfo,
        *,
        disparities: Annotated[int, DISPARITIES] = 64,
        loss: Loss = "hinge",
        positive: Annotated[float, OFF] = 0.5,
        negative: Annotated[Sequence[Annotated[float, OFF]], PAIR] = (1.5, 6.0),
        margin: Annotated[float, OFF] = 0.2,
        scale: Annotated[float, SCALE] = 20.0,
        semi_global: Penalties = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        if loss not in ("hinge", "binary", "cross_entropy"):
            raise RecipeError(f"task.loss is {loss!r}; it must be hinge, binary or cross_entropy")
        self.info = info
        self.disparities = int(check_number("task.disparities", disparities, DISPARITIES))
        self.loss_kind: Loss = loss
        self.positive = check_number("task.positive", positive, OFF)
        self.negative = check_range("task.negative", negative, OFF)
        if self.positive >= self.negative[0]:
            raise RecipeError(
                f"task.positive is {self.positive:g} and task.negative starts at {self.negative[0]:g}: what is learned "
                "as right would be as far off as what is learned as wrong: make positive smaller"
            )
        self.margin = check_number("task.margin", margin, OFF)
        self.scale = check_number("task.scale", scale, SCALE)
        self.penalties = None if semi_global is None else check_range("task.semi_global", semi_global, OFF)
        self.multiple = check_pairs("stereo", preprocessing).multiple

    @property
    def outputs(self) -> int:
        """One score a disparity."""
        return self.disparities

    @property
    def described(self) -> Mapping[str, Description]:
        return DESCRIBED

    @property
    def overlap(self) -> int:  # type: ignore[override]
        """So many that the right image's part shows what is kept of the left one's."""
        return max(256, 2 * (self.disparities + SEEN))

    def forward(self, model: nn.Module, inputs: Batch) -> Tensor:
        """Scores (B, D, H, W); large images go in parts outside of training."""
        if model.training:
            return self._scores(model, inputs["image"])
        return self._in_parts(lambda part: self._scores(model, part), inputs["image"], model)

    def _scores(self, model: nn.Module, image: Tensor) -> Tensor:
        scores = model(image)
        if not isinstance(scores, Tensor) or scores.dim() != 4 or scores.shape[1] != self.disparities:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise RecipeError(
                f"the network gives {shape}; stereo needs (B, {self.disparities}, H, W), a score for each disparity: "
                "choose one of models/stereo"
            )
        return scores

    def output_of_part(self, model: nn.Module, inputs: Batch) -> Tensor:
        """(B, 2, H, W): the disparity, and 1 where it passed the check."""

        def maps_of(part: Tensor) -> Tensor:
            return self._maps_of(to_float32(self._scores(model, part)))

        return self._in_parts(maps_of, inputs["image"], model)

    def _in_parts(self, network: Network, image: Tensor, model: nn.Module) -> Tensor:
        """Parts as wide as partners lie apart, and as high as `NUMBERS` allows."""
        columns = tile_sides(model, multiple=self.multiple, overlap=self.overlap)
        most = NUMBERS // (self.disparities * columns["tile"])
        rows = tile_sides(model, multiple=self.multiple, tile=most, overlap=OVERLAP)
        sides = {key: (rows[key], columns[key]) for key in ("tile", "overlap")}
        return predict_scores(network, image, limit=NUMBERS // self.disparities, stride=columns["stride"], **sides)

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of a batch; in training, networks that can compare features score two disparities a pixel only."""
        describe, compare = (getattr(model, name, None) for name in ("describe", "compare"))
        base = int(torch.randint(2**31, ())) if model.training else 0
        if not model.training or describe is None or compare is None or self.loss_kind == "cross_entropy":
            return self._loss(to_float32(self.forward(model, batch)), batch, base)
        left, right = describe(batch["image"])

        def score_of(disparity: Tensor) -> Tensor:
            columns = torch.arange(right.shape[-1], device=right.device) - disparity
            index = columns.clamp(min=0)[:, None].expand(-1, right.shape[1], -1, -1)
            return compare(left, right.gather(3, index)).float()

        return self._compared(score_of, batch, base)

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        """The loss under its name, over the visible pixels of known disparity."""
        return self._loss(output, batch, 0)

    def _loss(self, scores: Tensor, batch: Batch, base: int) -> Losses:
        if self.loss_kind != "cross_entropy":
            return self._compared(lambda d: scores.gather(1, d[:, None])[:, 0], batch, base)
        truth, is_learned = self._truth(batch)
        low = truth.floor().long().clamp(max=self.disparities - 2)
        share = truth - low
        logs = (scores * self.scale).log_softmax(1)
        lower, upper = (logs.gather(1, (low + step)[:, None])[:, 0] for step in (0, 1))
        errors = -((1 - share) * lower + share * upper).where(is_learned, 0)
        return {"cross_entropy": Term(errors.sum(), is_learned.sum().float())}

    def _compared(self, score_of: Callable[[Tensor], Tensor], batch: Batch, base: int) -> Losses:
        """The loss of the true disparity and a wrong one at each pixel, of which `score_of` gives the scores."""
        truth, is_learned = self._truth(batch)
        draws = _draws(batch, base, truth)  # (3, B, H, W)
        low, high = self.negative
        off = (low + draws[1] * (high - low)) * torch.where(draws[2] < 0.5, -1.0, 1.0)
        columns = torch.arange(truth.shape[-1], device=truth.device)
        most = columns.clamp(max=self.disparities - 1).to(truth.dtype)
        true = (truth + self.positive * (2 * draws[0] - 1)).round().clamp(min=0).minimum(most)
        wrong = (truth + off).round()
        wrong = torch.where((wrong < 0) | (wrong > most), (truth - off).round(), wrong)  # off to the other side
        is_learned = is_learned & (wrong >= 0) & (wrong <= most) & (wrong != true)
        right_score = score_of(true.long())
        wrong_score = score_of(wrong.clamp(min=0).minimum(most).long())
        if self.loss_kind == "hinge":
            errors = (self.margin + wrong_score - right_score).clamp(min=0)
        else:
            errors = nn.functional.softplus(-right_score) + nn.functional.softplus(wrong_score)
        return {self.loss_kind: Term(errors.where(is_learned, 0).sum(), is_learned.sum().float())}

    def _truth(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, H, W) disparities, 0 where they are not learned from, and where they are."""
        height, width = batch["image"].shape[-2:]
        truth = as_input(batch["disparity"], (height, width), torch.nan)
        is_learned = (truth >= 0) & (truth <= self.disparities - 1)  # NaN is neither
        is_learned &= truth <= torch.arange(width, device=truth.device)  # the right image shows it
        if "hidden" in batch:
            is_learned &= ~as_input(batch["hidden"], (height, width), 1.0)
        return truth.where(is_learned, 0), is_learned

    def decode(self, output: Tensor, inputs: Batch) -> Prediction:
        """Disparities and whether they passed the check, of scores (B, D, H, W) or of what `output_of_part` gives.

        Returns:
            disparity (B, H, W) float32, checked (B, H, W) bool; lists of B (H, W) where sizes differ.
        """
        maps = output
        if output.shape[1] != _MAPS:  # scores
            limit, width = NUMBERS // self.disparities, output.shape[-1]
            sides = {"tile": (max(2 * OVERLAP, limit // width), width), "overlap": (OVERLAP, 0)}
            maps = predict_scores(self._maps_of, output, limit=limit, stride=1, **sides)
        return {
            "disparity": of_images(maps[:, 0], inputs),
            "checked": of_images(maps[:, 1] > 0.5, inputs),
        }

    def _maps_of(self, scores: Tensor) -> Tensor:
        """(B, 2, H, W): the disparity, and 1 where it passed the check."""
        disparity, is_kept = disparities_of(
            scores if self.penalties is None else semi_global_scores(scores, self.penalties)
        )
        return torch.stack([disparity, is_kept.float()], dim=1)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return {"disparity": prediction["disparity"], "checked": prediction["checked"]}

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """Disparities beyond those told apart, in a few of the pairs that are learned from."""
        most = _largest_known(setup.sets[0]) if setup.sets else 0.0
        if most <= self.disparities - 1:
            return []
        return [
            f"disparities reach {most:.4g} pixels in the samples looked at, and task.disparities {self.disparities} "
            f"ends at {self.disparities - 1}: larger ones are neither learned nor answered; set task.disparities to "
            f"{math.ceil(most) + 1} or more"
        ]

    def metric(self) -> PixelErrors:
        return PixelErrors("disparity")

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The left image, and beside it the disparities in KITTI's colours, white at the largest one told apart."""
        return beside(image, disparity_colours(target["disparity"].cpu(), self.disparities - 1))

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The left image, truth and answer in one scale of colours, and the error, white at 3 pixels."""
        truth, answer = target["disparity"].cpu(), record["disparity"].cpu()
        hidden = target["hidden"].cpu() if "hidden" in target else None
        most = largest({"truth": truth}, "truth")
        pictures = (
            ("left image", image.cpu().expand(3, -1, -1)),
            (f"truth, white at {most:g} pixels", disparity_colours(truth, most)),
            ("prediction", disparity_colours(answer, most)),
            ("error, white at 3 pixels", error_picture(answer, truth)),
        )
        return Exhibit(pictures, caption=in_words(answer, truth, hidden))

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """`<stem>_disparity.pfm`; the share that passed the left-right check is in the record."""
        path = stem.with_name(f"{stem.name}_disparity.pfm")
        path.write_bytes(pfm_bytes(record["disparity"]))
        return {"disparity": path.name, "checked_share": round(float(record["checked"].float().mean()), 4)}

    def brief(self, written: Mapping[str, Any]) -> str:
        """The file, and how much of it passed the check."""
        return f"{written['disparity']}, {written['checked_share']:.0%} confirmed by the right image"


def _largest_known(samples: Samples) -> float:
    """The largest known disparity of a few samples."""
    most = 0.0
    for position in torch.linspace(0, len(samples) - 1, min(len(samples), LOOKED_AT)).round().int().tolist():
        try:
            disparity = samples.targets(position)["disparity"]
        except DataError:
            continue  # a damaged pair, which training replaces
        most = max(most, float(disparity.where(disparity.isfinite(), 0).max()))
    return most


def _draws(batch: Batch, base: int, like: Tensor) -> Tensor:
    """(3, B, H, W) numbers in 0..1 that depend on `base` and the position of each sample in its set alone."""
    positions = batch["index"].tolist() if "index" in batch else range(len(like))
    drawn = []
    for position in positions:
        generator = torch.Generator().manual_seed((base * 0x9E3779B1 + int(position)) & 0x7FFFFFFFFFFFFFFF)
        drawn.append(torch.rand((3, *like.shape[1:]), generator=generator))
    return torch.stack(drawn, dim=1).to(like.device)
