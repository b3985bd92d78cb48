"""A network with all that it needs to be asked about images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unpool.errors import ModelFileError
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.tiling import Piece, pieces, predict_scores, resized_bands, stride_of
from unpool.predictor.framing import in_square, of_at_most, told_of
from unpool.predictor.images import ImageLike, read_image
from unpool.task import Task
from unpool.tasks.one_forward import Maps, OneForward
from unpool.types import Batch, DataInfo, Prediction


class Predictor:
    """Answers at the size of the image, for images of any size; memory beyond the answer itself is bounded.

    Attributes:
        model: the network, on its device.
        preprocessing: from a decoded image to what the network sees.
        info: class names and palette.
        task: what the output means.
        limit: pixels that go through the network, or are resized, at once; larger ones go in tiles of `tile` pixels
            that share `overlap`. A network that sees further than overlap / 2 answers a little differently there.
            Where the answer is made of points, the image is made smaller instead.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        info: DataInfo,
        task: Task,
        *,
        limit: int = 2_400_000,
        tile: int = 1024,
        overlap: int = 256,
    ) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.info = info
        self.task = task
        self.limit, self.tile, self.overlap = limit, tile, overlap

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        weight = next(self.model.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    def __call__(self, images: ImageLike | Sequence[ImageLike]) -> list[dict[str, Any]]:
        """One answer an image, in order.

        Args:
            images: one or many paths, PIL images, uint8 arrays (H, W, C) or uint8 tensors (C, H, W).

        Returns:
            The task's record (`Task.record`): Classification: label, class (its name), score (its probability),
            top_labels and top_scores. Segmentation: mask (H, W) uint8 and score (H, W) float32, both at the size of
            the image. Denoising: clean (C, H, W) float32 on 0..1, at the size of the image. Pose: joints (their
            names), keypoints (x and y of each, in pixels of the image), score of each, notes; the whole image is taken
            for the person's. People: joints (their names), people (of each person x and y of each joint, or None where
            it is missing), score of each person, notes.

            Where the answer is made of points, the image is seen in a square with bars, as training does; where
            training had images of their own sizes, at its own size, made smaller above `limit` pixels, which notes say.

        Raises:
            DataError: an image cannot be used, or the network takes none of its size.
            ModelFileError: the network's answers are not finite.
        """
        many = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
        return [
            self.predict(read_image(image, self.preprocessing.channels, exif=self.preprocessing.exif)) for image in many
        ]

    def predict(self, image: Tensor) -> dict[str, Any]:
        """The answer about one decoded image (C, H, W) uint8; see `__call__`."""
        with _evaluating(self.model), torch.inference_mode():
            return self._answer(image)

    def _answer(self, image: Tensor) -> dict[str, Any]:
        if isinstance(self.task, Maps):
            return self.task.record(self._maps(self.task, image))
        if self.task.points:
            return self._framed(image)
        return self.task.record({key: values[0] for key, values in self._whole(image).items()})

    def _framed(self, image: Tensor) -> dict[str, Any]:
        has_size = self.preprocessing.size_hw is not None
        frame = in_square(image) if has_size else of_at_most(image, self.limit)
        prediction = {key: values[0] for key, values in self._whole(frame.image).items()}
        prediction |= {key: frame.back(prediction[key]) for key in self.task.points}
        return self.task.record(prediction) | {"notes": [] if has_size else told_of(frame)}

    def _whole(self, image: Tensor) -> Prediction:
        resized = self.preprocessing.resize(image.to(self.device))[None]
        inputs = self._inputs(resized, tuple(image.shape[-2:]))
        if isinstance(self.task, OneForward):
            return self.task.decode(_finite(self.task.output(self.model, inputs)), inputs)
        return self.task.answer(self.model, inputs)

    def _maps(self, task: Maps, image: Tensor) -> Prediction:
        maps: Prediction = {}
        for piece, prediction in self._pieces(task, image):
            for key, dtype in task.maps.items():
                part = prediction[key][0]
                whole = maps.setdefault(key, torch.empty(*part.shape[:-2], *image.shape[-2:], dtype=dtype))
                whole[..., piece.rows, piece.columns] = part.to(dtype).cpu()
        return maps

    def _pieces(self, task: Maps, image: Tensor) -> Iterator[tuple[Piece, Prediction]]:
        """Parts of the answer, at the size of the image."""

        def scores_of(part: Tensor) -> Tensor:
            """Scores of uint8 images (B, C, H, W), without those of the padding."""
            scores = _finite(task.output(self.model, self._inputs(part)))
            return scores[..., : part.shape[-2], : part.shape[-1]]

        def decoded(scores: Tensor, image: Tensor, size_hw: tuple[int, ...]) -> Prediction:
            return task.decode(scores, {"image": image, "size_hw": torch.tensor([size_hw])})

        height, width = image.shape[-2:]
        stride = stride_of(self.model)
        sides = {"tile": -(-self.tile // stride) * stride, "overlap": self.overlap, "stride": stride}
        resized = self.preprocessing.resize(image.to(self.device))[None]
        if height * width <= self.limit:
            scores = predict_scores(scores_of, resized, limit=self.limit, **sides)
            whole = Piece(slice(0, height), slice(0, width), scores)
            yield whole, decoded(scores, resized, (height, width))
            return
        if resized.shape[-2:] == image.shape[-2:]:
            parts = pieces(scores_of, resized, **sides)
        else:
            scores = predict_scores(scores_of, resized, limit=self.limit, **sides)
            parts = resized_bands(scores, (height, width), limit=self.limit)
        for piece in parts:
            yield piece, decoded(piece.scores, piece.scores, tuple(piece.scores.shape[-2:]))

    def _inputs(self, image: Tensor, size_hw: tuple[int, ...] | None = None) -> Batch:
        """What a task may see of uint8 images (B, C, H, W) that were decoded at `size_hw`."""
        sizes = {} if size_hw is None else {"size_hw": torch.tensor([size_hw])}
        return {"image": self.preprocessing.normalize(image), **sizes}


def _finite(output: Any) -> Any:
    """The network's output, which no task may see where it is not finite."""
    if not _is_finite(output):
        raise ModelFileError(
            "the network's answers are not finite (NaN or infinity); its weights are damaged or it had diverged"
        )
    return output


def _is_finite(output: Any) -> bool:
    """All numbers of a tensor, or of the tensors in a tuple of any depth."""
    return bool(output.isfinite().all()) if isinstance(output, Tensor) else all(map(_is_finite, output))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
