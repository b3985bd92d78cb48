"""A network with all that it needs to be asked about images."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unpool.data.plain import Levels
from unpool.data.proposals import make_proposer
from unpool.data.range_of_set import range_of_files
from unpool.errors import ModelFileError
from unpool.ops.cutting import resize_to
from unpool.ops.drawing import drawable
from unpool.ops.phases import phase
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.tiling import Piece, declared_stride, pieces, predict_scores, resized_bands, tile_sides
from unpool.predictor.answers import Answers
from unpool.predictor.images import ImageLike, read_question
from unpool.task import Task, first_sample
from unpool.tasks.one_forward import Maps
from unpool.types import MOST_PIXELS, Batch, DataInfo, Decoding, Prediction

_LISTED = 8  # names of classes


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
        max_pixels: of an image in a file; larger ones are refused by their header.
        name: of the network and where its weights come from, for `print`.
        levels: of the data set that was trained on, where that was a plain one: what images of other kinds than uint8
            are read by.
        keeps_sides: training mirrored images and kept their classes, left or right: views do the same.
    """

    def __init__(  # noqa: PLR0913, four of them bounds
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        info: DataInfo,
        task: Task,
        *,
        limit: int = 2_400_000,
        tile: int = 1024,
        overlap: int = 256,
        max_pixels: int = MOST_PIXELS,
        name: str = "",
        levels: Levels | None = None,
        keeps_sides: bool = False,
    ) -> None:
        self.name = name
        self.model = model
        self.preprocessing = preprocessing
        self.info = info
        self.task = task
        self.limit, self.tile, self.overlap = limit, tile, overlap
        self.max_pixels = max_pixels
        self.levels = levels
        self.keeps_sides = keeps_sides

    def __repr__(self) -> str:
        """What it answers, by which network, and what that sees."""
        names = self.info.classes or self.info.keypoints
        listed = ", ".join(names[:_LISTED]) + (f", {len(names) - _LISTED} more" if len(names) > _LISTED else "")
        count = sum(weight.numel() for weight in self.model.parameters())
        by = "" if self.task.activation is None else f", probabilities by {self.task.activation}"
        lines = {
            "predictor": f"{type(self.task).__name__}{by}, on {self.device}",
            "network": f"{self.name or type(self.model).__name__}, {count:,} parameters",
            "classes" if self.info.classes else "joints": f"{len(names)}: {listed}" if names else "none",
            "sees": f"{_sees(self.preprocessing)}, {self.preprocessing.channels} channels",
        }
        return "\n".join(f"{name:11}{text}" for name, text in lines.items())

    @property
    def decoding(self) -> Decoding:
        """How image files are read, each of a pair by itself: as in training, up to `max_pixels`."""
        channels = self.preprocessing.channels // self.task.frames
        return replace(self.preprocessing.decoding, channels=channels, max_pixels=self.max_pixels)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        weight = next(self.model.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    def __call__(self, images: ImageLike | Sequence[ImageLike | Sequence[ImageLike]]) -> list[dict[str, Any]]:
        """One answer an image, in order.

        Args:
            images: one or many paths, PIL images, uint8 arrays (H, W, C) or uint8 tensors (C, H, W); of a network that
                was trained on a plain data set also arrays and tensors as that gives them. Arrays and tensors of just
                the size that it gave are not resized. Of a task on pairs, one pair (left, right) or many of them.

        Returns:
            What the task's `record` documents: names and plain numbers; maps as tensors of the size of the image;
            coordinates in pixels of the image, with `notes`.

            The network sees the image by the size rule of training. Where the answer is made of points and training
            had images of their own sizes, it is made smaller above `limit` pixels, which notes say.

        Raises:
            DataError: an image cannot be used, or the network takes none of its size.
            ModelFileError: the network's answers are not finite.
            ValueError: images are no pairs, and the task is about pairs.
        """
        many = self._questions(images)
        every = [one for question in many for one in (question if isinstance(question, tuple | list) else [question])]
        paths = [Path(image) for image in every if isinstance(image, str | Path)]
        decoding = range_of_files(paths, self.decoding)
        records = [self._asked(image, decoding) for image in many]
        return Answers(records, many, partial(self._drawn, decoding))

    def _questions(self, images: Any) -> Sequence[Any]:
        """The images that each answer is about: one, or a tuple of several."""
        many = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
        frames = self.task.frames
        if frames == 1:
            return many
        of_one = not any(isinstance(one, tuple | list) for one in many)
        pairs = [many] if of_one else many
        if any(not isinstance(pair, tuple | list) or len(pair) != frames for pair in pairs):
            raise ValueError(
                f"{type(self.task).__name__} answers about {frames} images at a time: give (first, second), or a list "
                "of such pairs"
            )
        return pairs

    def _asked(self, image: ImageLike | Sequence[ImageLike], decoding: Decoding) -> dict[str, Any]:
        decoded = read_question(image, decoding, self.levels)
        is_of_set = self.levels is not None and isinstance(image, Tensor | np.ndarray)
        is_sized = is_of_set and tuple(decoded.shape[-2:]) == self.preprocessing.size_hw
        return (self.uncropped() if is_sized else self).predict(decoded)

    def uncropped(self) -> "Predictor":
        """The same for images that were brought to size, whose borders are not cut off a second time."""
        asked = copy(self)
        asked.preprocessing = replace(self.preprocessing, crop=1.0)
        return asked

    def _drawn(self, decoding: Decoding, image: ImageLike | Sequence[ImageLike], record: dict[str, Any]) -> Tensor:
        """The answer on its image, (3, H, W) uint8."""
        shown = drawable(read_question(image, decoding, self.levels)).expand(3, -1, -1)
        return self.task.draw(shown, self.task.thinned(record, 1))

    def predict(self, image: Tensor) -> dict[str, Any]:
        """The answer about one decoded image (C, H, W) uint8; see `__call__`."""
        with evaluating(self.model, self.task), finite_outputs(self.model), torch.inference_mode():
            return self._answer(image)

    def _answer(self, image: Tensor) -> dict[str, Any]:
        if isinstance(self.task, Maps):
            return self.task.record(self._maps(self.task, image))
        size_hw = (image.shape[-2], image.shape[-1])
        if not self.task.points:
            return self.task.record(self._whole(image, size_hw))
        stride = math.lcm(declared_stride(self.model), self.preprocessing.multiple)
        keeps_size = self.preprocessing.keeps_size
        smaller_hw = within(size_hw, self.limit, least=stride) if keeps_size else size_hw
        smaller = image if smaller_hw == size_hw else resize_to(image, smaller_hw)
        record = self.task.record(self._whole(smaller, size_hw))
        (height, width), (rows, columns) = size_hw, smaller_hw
        note = f"the network saw it made smaller, from {width}x{height} to {columns}x{rows} pixels"
        return record | {"notes": [] if smaller_hw == size_hw else [note]}

    def _whole(self, image: Tensor, size_hw: tuple[int, int]) -> Prediction:
        """The prediction for an image, on the same at `size_hw`."""
        return first_sample(self.task.answer(self.model, self.inputs(image, size_hw)))

    def inputs(self, image: Tensor, size_hw: tuple[int, int]) -> Batch:
        """A batch of one decoded image (C, H, W) as the network sees it, for an answer on the same at `size_hw`."""
        layout = self.preprocessing.layout((image.shape[-2], image.shape[-1]))
        resized = self.preprocessing.resize(image.to(self.device))[None]
        normalized = self.preprocessing.normalize(resized, layout.valid_xyxy.to(self.device))
        inputs = {"image": normalized, "valid_xyxy": layout.valid_xyxy, "size_hw": torch.tensor([size_hw])}
        return inputs | self.proposed([image], size_hw)

    def proposed(self, images: Sequence[Tensor], size_hw: tuple[int, int]) -> dict[str, list[Tensor]]:
        """`proposals` for decoded images of one size, on the same at `size_hw`; empty where the network reads none.

        Raises:
            DataError: they are in files, by the names of a set's images.
            EnvironmentFault: a package is missing.
        """
        if self.preprocessing.proposals is None:
            return {}
        proposer = make_proposer(self.preprocessing.proposals)
        scale = torch.tensor([size_hw[1] / images[0].shape[-1], size_hw[0] / images[0].shape[-2]] * 2)
        with phase("proposals"):
            return {"proposals": [proposer.propose(image.cpu(), "") * scale for image in images]}

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
        height, width = image.shape[-2:]
        valid = self.preprocessing.layout((height, width)).valid_xyxy
        resized = self.preprocessing.resize(image.to(self.device))[None]
        preprocessing = self.preprocessing.fixed(resized, valid.to(self.device))

        def scores_of(part: Tensor) -> Tensor:
            """Scores of uint8 images (B, C, H, W), without those of the padding."""
            scores = task.output_of_part(self.model, {"image": preprocessing.normalize(part)})
            return scores[..., : part.shape[-2], : part.shape[-1]]

        overlap = max(self.overlap, task.overlap)
        sides = tile_sides(self.model, multiple=preprocessing.multiple, tile=self.tile, overlap=overlap)
        if height * width <= self.limit:
            scores = predict_scores(scores_of, resized, limit=self.limit, **sides)
            inputs = {"image": resized, "valid_xyxy": valid, "size_hw": torch.tensor([[height, width]])}
            yield Piece(slice(0, height), slice(0, width), scores), task.decode(scores, inputs)
            return
        if preprocessing.keeps_size:
            parts = pieces(scores_of, resized, **sides)
        else:
            scores = predict_scores(scores_of, resized, limit=self.limit, **sides)
            parts = resized_bands(scores, (height, width), limit=self.limit, valid_xyxy=valid[0].tolist())
        for piece in parts:
            yield piece, task.decode(piece.scores, {"image": piece.scores})


def _sees(preprocessing: Preprocessing) -> str:
    """The images that the network gets, in words."""
    if preprocessing.size_hw is not None:
        height, width = preprocessing.size_hw
        return f"images of {height}x{width}, {preprocessing.rule}"
    if preprocessing.shorter is not None:
        return f"images whose sides are {preprocessing.shorter} and at most {preprocessing.longest}"
    return "images of any size"


def within(size_hw: tuple[int, int], limit: int, *, least: int = 1) -> tuple[int, int]:
    """The size, made smaller at its aspect where it has more pixels than `limit`; sides count as `least` at least.

    >>> within((40, 30), 300), within((4, 3), 300), within((1, 90), 300, least=5)
    ((20, 15), (4, 3), (1, 60))
    """
    height, width = size_hw
    if max(height, least) * max(width, least) <= limit:
        return size_hw
    scale = math.sqrt(limit / (height * width))
    rows = max(1, min(height, round(height * scale), limit // least))
    return rows, max(1, min(width, round(width * scale), limit // max(rows, least)))


@contextmanager
def finite_outputs(model: nn.Module) -> Iterator[None]:
    """Inside, an output of the network that is not finite is an error, before the task reads it; of `classify` too."""
    hook = model.register_forward_hook(lambda model, inputs, output: _check_finite(output))
    second, kept = getattr(model, "classify", None), vars(model).get("classify")
    if second is not None:  # the second stage of a detector, which the task calls by itself

        def classify(*regions: Any) -> Any:
            classified = second(*regions)
            _check_finite(classified)
            return classified

        vars(model)["classify"] = classify
    try:
        yield
    finally:
        hook.remove()
        vars(model).pop("classify", None)
        if kept is not None:
            vars(model)["classify"] = kept


def _check_finite(output: Any) -> None:
    if not _is_finite(output):
        raise ModelFileError(
            "the network's answers are not finite (NaN or infinity); its weights are damaged or it had diverged"
        )


def _is_finite(output: Any) -> bool:
    """All numbers of a tensor, or of the tensors in tuples, lists and dicts of any depth."""
    if isinstance(output, Tensor):
        return bool(output.isfinite().all())
    if isinstance(output, dict):
        return all(map(_is_finite, output.values()))
    return all(map(_is_finite, output)) if isinstance(output, tuple | list) else True


@contextmanager
def evaluating(model: nn.Module, task: Task) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode after."""
    both = nn.ModuleList([model, task])
    modes = {module: module.training for module in both.modules()}
    both.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
