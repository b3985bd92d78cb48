"""Optical flow: where each pixel of the first frame lies in the second one.

Trained on the mean length of the error of all pixels whose flow is known, hidden ones too, as FlowNet (Dosovitskiy et
al. 2015, arXiv:1504.06852, section 5.1): at the size of the image, and with a weight at each coarser level.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.limits import WEIGHT, AuxiliaryWeight, check_number
from unpool.metrics.pixel_errors import PixelErrors
from unpool.ops.dense_bytes import flo_bytes
from unpool.ops.drawing_motion import flow_colours
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.tiling import predict_scores, tile_sides
from unpool.task import Description, Exhibit
from unpool.tasks.auxiliary import Output, heads, loss_of_heads, main_head
from unpool.tasks.one_forward import Maps
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
from unpool.types import Batch, DataInfo, Losses, Prediction, Term

LIMIT = 1_000_000  # pixels (B * H * W) that go through a network at once
AXES = 2
_LEAST_SQUARE = 1e-6  # below which the length of an error has a gradient that fades


class Flow(Maps):
    """Two numbers a pixel, x to the right and y down; the mean length of their error.

    Args:
        info: of the set; nothing of it is needed.
        auxiliary_weight: of the loss at each coarser level that the network gives.
        preprocessing: what the frames go through; must keep their size.
    """

    needs = ("image", "flow")
    files = ("flow.flo",)
    takes = ("maps",)
    maps: Mapping[str, torch.dtype] = {"flow": torch.float32}
    best = "epe"
    frames = 2
    overlap = 768  # `flow_pyramid` of four levels follows and sees 382 to either side

    def __init__(
        self,
        info: DataInfo,
        *,
        auxiliary_weight: AuxiliaryWeight = 0.2,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        self.info = info
        self.auxiliary_weight = check_number("task.auxiliary_weight", auxiliary_weight, WEIGHT)
        self.multiple = check_pairs("flow", preprocessing).multiple

    @property
    def outputs(self) -> int:
        """To the right, and down."""
        return AXES

    @property
    def described(self) -> Mapping[str, Description]:
        order = ("epe", "epe_visible", "bad1", "bad1_visible", "bad3", "bad3_visible")
        return {name: DESCRIBED[name] for name in order}

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        """Flow (B, 2, H, W); in training with that of coarser levels. Large images go in parts outside of training."""
        if model.training:
            return model(inputs["image"])
        sides = tile_sides(model, multiple=self.multiple, overlap=self.overlap)
        return predict_scores(lambda part: main_head(model(part)), inputs["image"], limit=LIMIT, **sides)

    def loss(self, output: Output, batch: Batch) -> Losses:
        """The mean length of the error of known pixels, under "epe"; of coarser levels under "auxiliary_1" and so on.

        Raises:
            RecipeError: the network gives another number of maps than two.
        """
        flow = main_head(heads(output))
        if flow.dim() != 4 or flow.shape[1] != AXES:
            raise RecipeError(
                f"the network gives {tuple(flow.shape)}; flow needs (B, 2, H, W), to the right and down: choose one of "
                "models/flow"
            )
        height, width = batch["image"].shape[-2:]
        truth = as_input(batch["flow"], (height, width), torch.nan)
        return loss_of_heads(output, lambda level: _lengths(level.float(), truth), weight=self.auxiliary_weight)

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """flow (B, 2, H, W) float32, in pixels; a list of B (2, H, W) where sizes differ."""
        return {"flow": of_images(main_head(output), inputs)}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return {"flow": prediction["flow"]}

    def metric(self) -> PixelErrors:
        return PixelErrors("flow")

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The first frame, and beside it the flow in Middlebury's colours, full at its largest length."""
        flow = target["flow"].cpu()
        return beside(image, flow_colours(flow, largest({"flow": flow}, "flow")))

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The first frame, truth and answer in one scale of colours, and the error, white at 3 pixels."""
        truth, answer = target["flow"].cpu(), record["flow"].cpu()
        hidden = target["hidden"].cpu() if "hidden" in target else None
        most = largest({"truth": truth}, "truth")
        pictures = (
            ("first frame", image.cpu().expand(3, -1, -1)),
            (f"truth, full colours at {most:g} pixels", flow_colours(truth, most)),
            ("prediction", flow_colours(answer, most)),
            ("error, white at 3 pixels", error_picture(answer, truth)),
        )
        return Exhibit(pictures, caption=in_words(answer, truth, hidden))

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """`<stem>_flow.flo`; the mean length of the flow is in the record."""
        path = stem.with_name(f"{stem.name}_flow.flo")
        path.write_bytes(flo_bytes(record["flow"]))
        return {"flow": path.name, "mean_length": round(float(record["flow"].square().sum(0).sqrt().mean()), 3)}

    def brief(self, written: Mapping[str, Any]) -> str:
        """The file, and how far things move."""
        return f"{written['flow']}, {written['mean_length']:g} pixels in the mean"


def _lengths(flow: Tensor, truth: Tensor) -> Losses:
    """How far a flow (B, 2, h, w) is off the mean of the known truth (B, 2, H, W) in each of its cells."""
    is_known, size_hw = truth.isfinite().all(1, keepdim=True), (flow.shape[-2], flow.shape[-1])
    share = nn.functional.adaptive_avg_pool2d(is_known.float(), size_hw)  # (B, 1, h, w)
    mean = nn.functional.adaptive_avg_pool2d(truth.where(is_known, 0), size_hw) / share.clamp(min=1e-6)
    counts = share[:, 0] > 0.5
    lengths = ((flow - mean).square().sum(1) + _LEAST_SQUARE).sqrt()
    return {"epe": Term(lengths.where(counts, 0).sum(), counts.sum().float())}
