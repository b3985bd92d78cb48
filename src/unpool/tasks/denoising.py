"""Denoising: regression of the clean image, pixel by pixel.

The network sees an image with noise and the target is the clean one, never what it saw. Noise is the data's (data.noise
in a recipe, or a reader of pairs); what is done here is the same for every kind of it. The answer is clipped to the
range of an image before it is measured, as papers store it; the image with noise never is.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.metrics.image_quality import ImageScores
from unpool.ops.drawing import caption
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.tiling import predict_scores, stride_of
from unpool.types import Batch, DataInfo, Losses, Prediction, Term

LIMIT = 2_400_000  # pixels (B * H * W) that go through a network at once
GAIN = 3  # of the removed noise in a picture: it is faint

Loss = Literal["half_squares", "mse", "mae"]


class Denoising:
    """Squared or absolute error to the clean image; PSNR and SSIM of each image, averaged.

    Args:
        info: of the set; nothing of it is needed.
        loss: "half_squares" is half of the sum of squares over the number of images, DnCNN's (arXiv:1608.03981,
            equation 1); "mse" and "mae" are means over all values.
        residual: the network gives the noise, which is taken from what it saw; refused where the network does that.
        preprocessing: what the images go through; the network answers on the same scale. Refused where it brings them
            to a size: what is lost by that does not come back.
    """

    needs: tuple[str, ...] = ("image", "clean")
    added_channels = 0
    maps: Mapping[str, torch.dtype] = {"clean": torch.float32}
    best: str = "psnr"

    def __init__(
        self,
        info: DataInfo,
        *,
        loss: Loss = "half_squares",
        residual: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if loss not in ("half_squares", "mse", "mae"):
            raise RecipeError(f"task.loss is {loss!r}; it must be half_squares, mse or mae")
        preprocessing = preprocessing or Preprocessing()
        if preprocessing.size_hw is not None:
            raise RecipeError(
                f"data.size is {list(preprocessing.size_hw)}; a denoised image must have the pixels of its file, and "
                "one made smaller comes back blurred: leave data.size out (train_size cuts windows in training), and "
                "bring the images to one size yourself where the network needs it"
            )
        self.info = info
        self.kind: Loss = loss
        self.residual = residual
        self.preprocessing = replace(preprocessing, multiple=1)

    @property
    def outputs(self) -> int:
        """The channels of the image."""
        return self.preprocessing.channels

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """The clean image (B, C, H, W) as the network sees images; large ones in parts outside of training."""
        image = batch["image"]
        if model.training:
            return self._answer(model, image)
        return predict_scores(lambda part: self._answer(model, part), image, limit=LIMIT, stride=stride_of(model))

    def _answer(self, model: nn.Module, image: Tensor) -> Tensor:
        if self.residual and getattr(model, "finds_noise", False):
            raise RecipeError(
                "task.residual is true and the network takes the noise away itself, which would then happen twice: "
                "leave task.residual out"
            )
        found = model(image)
        if found.shape != image.shape:
            raise RecipeError(
                f"the network gives {tuple(found.shape)} for images {tuple(image.shape)} (B, C, H, W); denoising needs "
                "an image of the same size: choose one of models/denoising"
            )
        return image - found if self.residual else found

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        """The error in the scale of the network's images, under the name of the loss."""
        clean = self.preprocessing.normalize(batch["clean"])
        error = output.float()[..., : clean.shape[-2], : clean.shape[-1]] - clean
        if self.kind == "half_squares":
            return {self.kind: _term(error.square().sum() / 2, len(error))}
        total = error.abs().sum() if self.kind == "mae" else error.square().sum()
        return {self.kind: _term(total, error.numel())}

    def predict(self, output: Tensor, batch: Batch) -> Prediction:
        """The clean image, at the size of the target where there is one.

        Returns:
            clean (B, C, H, W) on 0..1; and beside a target, noisy (B, C, H, W), what the network saw, on that scale.
        """
        answer = self._unscaled(output.float())
        if "clean" not in batch:
            return {"clean": answer.clamp(0, 1)}
        height, width = batch["clean"].shape[-2:]
        noisy = self._unscaled(batch["image"].float())
        return {"clean": answer[..., :height, :width].clamp(0, 1), "noisy": noisy[..., :height, :width]}

    def _unscaled(self, image: Tensor) -> Tensor:
        """The range 0..1 from what the network sees."""
        mean = torch.tensor(self.preprocessing.mean, device=image.device).view(-1, 1, 1)
        std = torch.tensor(self.preprocessing.std, device=image.device).view(-1, 1, 1)
        return image * std + mean

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return prediction

    def metric(self) -> ImageScores:
        return ImageScores()

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """A true clean image (uint8) by itself; an answer (float) beside the image before and what was removed."""
        clean = target["clean"].cpu()
        if not clean.is_floating_point():
            return clean.expand(3, -1, -1)
        before = image.cpu()[: len(clean)]
        removed = before.float() / 255 - clean
        parts = {
            "before": before,
            "after": _picture(clean),
            f"removed, {GAIN} times": _picture(0.5 + GAIN * removed),
        }
        return torch.cat([caption(part, name) for name, part in parts.items()], dim=-1)


def _term(total: Tensor, count: int) -> Term:
    return Term(total, torch.tensor(float(count), device=total.device))


def _picture(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
