"""Denoising: regression of the clean image, pixel by pixel.

The network sees an image with noise and the target is the clean one, never what it saw. Noise is the data's (data.noise
in a recipe, or a reader of pairs); what is done here is the same for every kind of it. The answer is clipped to the
range of an image before it is measured, as papers store it; the image with noise never is.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.limits import check_number
from unpool.metrics.image_quality import ImageScores, psnr
from unpool.ops.drawing import caption
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.regression_losses import DELTA, Delta, RegressionLoss, regression_errors
from unpool.ops.tiling import predict_scores, tile_sides
from unpool.task import Baseline, Description, Exhibit, TrainingSetup
from unpool.tasks.one_forward import Maps
from unpool.types import Batch, DataInfo, Losses, Prediction, Samples, Term

LIMIT = 2_400_000  # pixels (B * H * W) that go through a network at once
GAIN = 3  # of the removed noise in a picture: it is faint
SHOWN = 320  # pixels of a side in the report, where noise can only be seen pixel by pixel

Loss = Literal["half_squares"] | RegressionLoss


class Denoising(Maps):
    """Squared or absolute error to the clean image; PSNR and SSIM of each image, averaged.

    Args:
        info: of the set; nothing of it is needed.
        loss: "half_squares" is half of the sum of squares over the number of images, DnCNN's (arXiv:1608.03981,
            equation 1); "mse", "mae" and "huber" are means over all values, see `regression_errors`.
        huber_delta: of "huber", in the scale of the network's images.
        residual: the network gives the noise, which is taken from what it saw; refused where the network does that.
        preprocessing: what the images go through; the network answers on the same scale. Refused where it brings them
            to a size: what is lost by that does not come back.
    """

    needs = ("image", "clean")
    is_image = True
    files = ("clean.png",)
    takes = ("maps",)
    maps: Mapping[str, torch.dtype] = {"clean": torch.float32}
    best = "psnr"

    def __init__(
        self,
        info: DataInfo,
        *,
        loss: Loss = "half_squares",
        huber_delta: Delta = 1.0,
        residual: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        if loss not in ("half_squares", "mse", "mae", "huber"):
            raise RecipeError(f"task.loss is {loss!r}; it must be half_squares, mse, mae or huber")
        preprocessing = preprocessing or Preprocessing()
        if not preprocessing.keeps_size:
            size = preprocessing.size_hw
            key, value = ("shorter", preprocessing.shorter) if size is None else ("size", list(size))
            raise RecipeError(
                f"data.{key} is {value}; a denoised image must have the pixels of its file, and one made smaller comes "
                f"back blurred: leave data.{key} out (train_size cuts windows in training), and "
                "bring the images to one size yourself where the network needs it"
            )
        if preprocessing.channels not in (1, 3):
            raise RecipeError(f"data.channels is {preprocessing.channels}; denoising writes pictures: set it to 1 or 3")
        self.info = info
        self.loss_kind: Loss = loss
        self.huber_delta = check_number("task.huber_delta", huber_delta, DELTA)
        if loss != "huber" and huber_delta != 1:
            raise RecipeError(
                f"task.huber_delta is {huber_delta}, which task.loss {loss} does not read: leave it out, or set "
                "task.loss to huber"
            )
        self.residual = residual
        if preprocessing.normalization == "image":
            raise RecipeError("data.normalize is image, which an answer cannot undo; use channel for denoising")
        self.preprocessing = preprocessing

    @property
    def outputs(self) -> int:
        """The channels of the image."""
        return self.preprocessing.channels

    @property
    def described(self) -> Mapping[str, Description]:
        return {
            "psnr": Description("PSNR", unit="dB"),
            "ssim": Description("SSIM"),
            "input_psnr": Description("PSNR of the input", unit="dB"),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> Tensor:
        """The clean image (B, C, H, W) as the network sees images; large ones in parts outside of training."""
        image = inputs["image"]
        if model.training:
            return self._denoised(model, image)
        sides = tile_sides(model, multiple=self.preprocessing.multiple)
        return predict_scores(lambda part: self._denoised(model, part), image, limit=LIMIT, **sides)

    def _denoised(self, model: nn.Module, image: Tensor) -> Tensor:
        if self.residual and getattr(model, "finds_noise", False):
            raise RecipeError(
                "task.residual is true and the network takes the noise away itself, which would then happen twice: "
                "leave task.residual out"
            )
        output = model(image)
        if not isinstance(output, Tensor) or output.shape != image.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise RecipeError(
                f"the network gives {shape} for images {tuple(image.shape)} (B, C, H, W); denoising "
                "needs an image of the same size: choose one of models/denoising"
            )
        return image - output if self.residual else output

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        """The error in the scale of the network's images, under the name of the loss."""
        is_valid = Layout.of(batch).is_valid()[:, None]  # (B, 1, H, W)
        clean = self.preprocessing.normalize(batch["clean"])
        kind = "mse" if self.loss_kind == "half_squares" else self.loss_kind
        errors = regression_errors(output.float(), clean, kind, delta=self.huber_delta).where(is_valid, 0)
        if self.loss_kind == "half_squares":
            return {self.loss_kind: Term(errors.sum() / 2, errors.new_tensor(float(len(errors))))}
        return {self.loss_kind: Term(errors.sum(), (is_valid.sum() * errors.shape[1]).float())}

    def decode(self, output: Tensor, inputs: Batch) -> Prediction:
        """The clean image, without padding.

        Returns:
            clean (B, C, H, W) and noisy (B, C, H, W), what the network saw, both on 0..1; the first is clipped. Lists
            of B (C, H, W) where sizes differ.
        """
        images = {"clean": output, "noisy": inputs["image"]}
        answers = {key: self.preprocessing.denormalize(image) for key, image in images.items()}
        answers["clean"] = answers["clean"].clamp(0, 1)
        sizes = Layout.of(inputs).size_hw.tolist()
        if all(size == sizes[0] for size in sizes):
            return {key: image[..., : sizes[0][0], : sizes[0][1]] for key, image in answers.items()}
        return {key: [one[:, :h, :w] for one, (h, w) in zip(v, sizes, strict=True)] for key, v in answers.items()}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return {"clean": prediction["clean"]}

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

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """What the network saw, the clean image and the answer, of large ones the middle, pixel by pixel."""
        clean = target["clean"].cpu().float() / 255
        noisy, answer = target["image"].cpu()[: len(clean)].float() / 255, record["clean"].cpu()
        before, after = (float(psnr(one[None], clean[None])) for one in (noisy, answer))
        pictures = {f"noisy, {before:.2f} dB": noisy, "clean": clean, f"result, {after:.2f} dB": answer}
        shown = [(label, _middle(_picture(one)).expand(3, -1, -1)) for label, one in pictures.items()]
        height, width = clean.shape[-2:]
        part = f"the middle of {width} x {height} pixels" if max(height, width) > SHOWN else ""
        return Exhibit(shown, caption=part, is_exact=True)

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """The images as the network saw them, left as they are."""
        value = metrics.get("input_psnr")
        if value is None or not math.isfinite(value):
            return None
        return Baseline("psnr", value, "The images with their noise, left as they are.")

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """`<stem>_clean.png`, the answer in 8 bits, one channel as grey."""
        path = stem.with_name(f"{stem.name}_clean.png")
        values = (record["clean"] * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(2)
        Image.fromarray(values.contiguous().numpy()).save(path)
        return {"clean": path.name}

    def brief(self, written: Mapping[str, Any]) -> str:
        """The file of the clean image."""
        return written["clean"]

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """Refuses to take real noise out of images before training; warns of patches that hold no image.

        Raises:
            RecipeError: an augmentation mixes the pixels of images that are noisy on disk.
        """
        if "clean" in setup.gives and setup.interpolating:
            raise RecipeError(
                f"data.augment has {setup.interpolating[0]}, which mixes neighbouring pixels and so takes away the "
                "noise that the files have; leave it out: crop, flip, turn and translate move whole pixels"
            )
        if setup.window_hw is None or not setup.keeps_scale:
            return []
        height, width = setup.window_hw
        small = sum(size[0] < height or size[1] < width for size in setup.sizes_hw)
        if not small:
            return []
        return [
            f"{small} of {len(setup.sizes_hw)} training images are smaller than data.train_size {[height, width]}, so "
            "that the rest of their patches is fill of one colour: make data.train_size smaller, or leave these out"
        ]


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, (side - SHOWN) // 2) for side in image.shape[-2:])
    return image[:, top : top + SHOWN, left : left + SHOWN]


def _picture(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
