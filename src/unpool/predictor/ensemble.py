"""One answer from several views of an image, several networks, or both.

Each network sees the image by its own preprocessing. What is averaged the task says (`Task.averages`): probabilities,
never logits, whose scale is a network's own.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from unpool.convert import fully_convolutional
from unpool.errors import RecipeError
from unpool.ops.sides import class_order, class_sides
from unpool.ops.tiling import Piece, declared_stride, pieces, predict_scores, resized_bands, tile_sides
from unpool.ops.views import View, combined, mirrored_boxes, resizing, seen_part, shown, undone
from unpool.predictor.predictor import Predictor, evaluating, finite_outputs
from unpool.task import first_sample
from unpool.tasks.one_forward import Maps, OneForward
from unpool.types import Prediction

_log = logging.getLogger(__name__)


class Member(NamedTuple):
    """One network of several.

    Attributes:
        predictor: with its own preprocessing and task.
        order: which of its classes each class of the first network is.
        mirror: which class of the first network each of them is in a mirror image.
        dense: image of any size -> output, for views of several scales.
    """

    predictor: Predictor
    order: list[int]
    mirror: list[int]
    dense: nn.Module


class Ensemble(Predictor):
    """Answers as a `Predictor` does, by the mean over views and networks.

    Args:
        members: the networks; names, drawing and metric are those of the first.
        views: rows of `ops.views.VIEWS`, all combined.

    Attributes:
        averaged: what is averaged: `networks`, `views`, how many `answers` that is, and the mean `of` what.

    Raises:
        RecipeError: the task has no such views or joins no networks, classes or tasks differ, files would be read
            differently, or a class has no mirror image.
    """

    def __init__(self, members: Sequence[Predictor], views: Sequence[str] = ()) -> None:
        first = members[0]
        super().__init__(
            first.model,
            first.preprocessing,
            first.info,
            first.task,
            max_pixels=first.max_pixels,
            name=", ".join(member.name for member in members),
            levels=first.levels,
        )
        task = _able(first, members, views)
        rows = combined(views)
        is_mirrored = any(view.is_mirrored for view in rows)
        mirrors = [_mirror(one, first.info.classes) if is_mirrored else [] for one in members]
        for member in members:
            for view in rows:
                resizing(view, member.preprocessing)  # refused before the first image
        self.averaged: dict[str, Any] = {
            "networks": [member.name for member in members],
            "views": list(views),
            "answers": len(members) * len(rows),
            "of": task.averages,
        }
        count, networks = self.averaged["answers"], len(members)
        of = f"{networks} networks" if networks > 1 else "one network"
        seen = f", views {', '.join(views)}" if views else ""
        _log.info("averaged over %d answers an image (%s%s): %s", count, of, seen, task.averages)
        if "colors" in views:
            _log.info("views colors vary along ImageNet's axes of colour, whichever ones training varied along")
        self.views = combined(task.take_over(views))
        is_scaled = any(view.scale is not None for view in rows)
        self._members = [
            Member(one, _order(first, one), mirror, _dense(one) if is_scaled else one.model)
            for one, mirror in zip(members, mirrors, strict=True)
        ]

    def predict(self, image: Tensor) -> dict[str, Any]:
        with self.asking():
            return self._answer(image)

    def uncropped(self) -> "Ensemble":
        asked = copy(self)
        asked._members = [one._replace(predictor=one.predictor.uncropped()) for one in self._members]
        return asked

    def asking(self) -> ExitStack:
        """A context in which the networks are evaluated: evaluation mode, finite outputs, no gradients."""
        stack = ExitStack()
        for one in (member.predictor for member in self._members):
            stack.enter_context(evaluating(one.model, one.task))
            stack.enter_context(finite_outputs(one.model))
        stack.enter_context(torch.inference_mode())
        return stack

    def prediction(self, images: Tensor, size_hw: Tensor, proposals: Sequence[Tensor] | None = None) -> Prediction:
        """The prediction for decoded images (B, C, H, W) of 0..255, on the same at `size_hw` (B, 2); see `asking`.

        `proposals`, where a set has them, are B times (N, 4) on the images at `size_hw`; else they are computed.
        """
        task = cast(OneForward, self.task)
        if isinstance(task, Maps):
            maps = [self._maps(task, image) for image in images]
            return {key: torch.stack([one[key] for one in maps]) for key in maps[0]}
        asked = [
            self._opinion(member, view, images, size_hw, proposals) for member in self._members for view in self.views
        ]
        return task.conclude(self.model, asked, {"image": images, "size_hw": size_hw})

    def _opinion(
        self, member: Member, view: View, images: Tensor, size_hw: Tensor, proposals: Sequence[Tensor] | None
    ) -> Any:
        preprocessing, task = member.predictor.preprocessing, cast(OneForward, member.predictor.task)
        resizer = resizing(view, preprocessing)
        resized = resizer.resize(images.to(member.predictor.device))
        seen = shown(view, resized, preprocessing.size_hw)
        valid = resizer.layout((images.shape[-2], images.shape[-1])).valid_xyxy.expand(len(images), 4)
        valid = seen_part(view, valid, (resized.shape[-2], resized.shape[-1])).to(seen.device)
        if view.window is not None:
            valid = valid.new_tensor([[0, 0, seen.shape[-1], seen.shape[-2]]]).expand(len(images), 4)
        normalize = preprocessing.normalize if view.scale is None else resizer.normalize
        inputs = {"image": normalize(seen, valid), "valid_xyxy": valid, "size_hw": size_hw}
        (height, width), *_ = size_hw.tolist()
        known = None if proposals is None else {"proposals": list(proposals)}
        inputs |= known or member.predictor.proposed(list(images), (height, width))
        if view.is_mirrored and "proposals" in inputs:
            inputs["proposals"] = [mirrored_boxes(one, width) for one in inputs["proposals"]]
        opinion = task.opinion(member.predictor.model if view.scale is None else member.dense, inputs)
        opinion = task.unmirrored(opinion, inputs) if view.is_mirrored else opinion
        return self._in_order(task, opinion, member, view)

    def _in_order(self, task: OneForward, opinion: Any, member: Member, view: View) -> Any:
        """An opinion whose classes are those of the first network and of the image as it is."""
        for order in (member.order, member.mirror if view.is_mirrored else []):
            if order != sorted(order):
                opinion = task.reordered(opinion, order)
        return opinion

    def _whole(self, image: Tensor, size_hw: tuple[int, int]) -> Prediction:
        return first_sample(self.prediction(image[None], torch.tensor([size_hw])))

    def _pieces(self, task: Maps, image: Tensor) -> Iterator[tuple[Piece, Prediction]]:
        for parts in zip(*(self._parts(member, image) for member in self._members), strict=False):
            if any(part[:2] != parts[0][:2] for part in parts):
                height, width = image.shape[-2:]
                raise RecipeError(
                    f"an image of {width}x{height} goes through some of the networks in tiles and through others made "
                    "smaller, so that their answers cannot be joined part by part: make the image smaller, or ask "
                    "each network by itself"
                )
            piece = parts[0]._replace(scores=task.averaged([part.scores for part in parts]))
            yield piece, task.decode(piece.scores, {"image": piece.scores})

    def _parts(self, member: Member, image: Tensor) -> Iterator[Piece]:
        """The scores of one network at the size of the image, averaged over views."""
        preprocessing = member.predictor.preprocessing
        height, width = image.shape[-2:]
        valid = preprocessing.layout((height, width)).valid_xyxy
        resized = preprocessing.resize(image.to(member.predictor.device))[None]
        normalize = preprocessing.fixed(resized, valid.to(resized.device)).normalize
        overlap = max(self.overlap, cast(Maps, member.predictor.task).overlap)
        sides = tile_sides(member.predictor.model, multiple=self._multiple(), tile=self.tile, overlap=overlap)
        scores_of = partial(self._viewed, member, normalize)
        is_small = height * width <= self.limit
        if preprocessing.keeps_size and not is_small:
            yield from pieces(scores_of, resized, **sides)
            return
        scores = predict_scores(scores_of, resized, limit=self.limit, **sides)
        limit = height * width if is_small else self.limit
        yield from resized_bands(scores, (height, width), limit=limit, valid_xyxy=valid[0].tolist())

    def _multiple(self) -> int:
        """Pixels at whose multiples tiles start, the same for every network."""
        every = [member.predictor for member in self._members]
        return math.lcm(*(math.lcm(one.preprocessing.multiple, declared_stride(one.model)) for one in every))

    def _viewed(self, member: Member, normalize: Callable[[Tensor], Tensor], part: Tensor) -> Tensor:
        """The mean scores of all views of a part of an image (1, C, H, W) of 0..255."""
        task = cast(Maps, member.predictor.task)
        asked = []
        for view in self.views:
            seen = shown(view, part)
            scores = task.output_of_part(member.predictor.model, {"image": normalize(seen)})
            scores = undone(view, scores[..., : seen.shape[-2], : seen.shape[-1]])
            asked.append(self._in_order(task, scores, member, view))
        return task.averaged(asked)


def _able(first: Predictor, members: Sequence[Predictor], views: Sequence[str]) -> OneForward:
    """The task, where it can average what is asked for."""
    task, kind = first.task, type(first.task).__name__
    combined(views)
    lacking = [name for name in views if name not in task.views]
    if lacking:
        able = f"it averages {', '.join(task.views)}" if task.views else "it averages none"
        raise RecipeError(f"views {lacking[0]} are none of {kind}: {able}; leave {lacking[0]} out")
    if len(members) > 1 and not task.joins_networks:
        raise RecipeError(f"{kind} does not average the answers of several networks: give one run")
    if not isinstance(task, OneForward):
        raise RecipeError(f"{kind} averages nothing at test time: give one run and no views")
    for member in members[1:]:
        if type(member.task) is not type(task):
            raise RecipeError(f"{member.name} answers as {type(member.task).__name__}, and {first.name} as {kind}")
        if member.task.activation != task.activation:
            raise RecipeError(
                f"{member.name} makes probabilities by {member.task.activation}, and {first.name} by "
                f"{task.activation}, as their losses ask for: the mean of both is neither; ask each network by itself"
            )
        if member.decoding != first.decoding:
            ours, theirs = vars(first.decoding), vars(member.decoding)
            key = next(key for key in ours if ours[key] != theirs[key])
            raise RecipeError(
                f"{member.name} reads images with {key} {theirs[key]}, and {first.name} with {ours[key]}: networks are "
                "averaged on the same pixels"
            )
    return task


def _order(first: Predictor, member: Predictor) -> list[int]:
    """Which of a network's classes each class of the first is, by name."""
    ours, theirs = first.info.classes, member.info.classes
    if sorted(ours) != sorted(theirs):
        differing = sorted(set(ours) ^ set(theirs))[:5]
        raise RecipeError(
            f"{member.name} has other classes than {first.name}: {', '.join(differing)} of one of them only; networks "
            "are averaged where they know the same classes"
        )
    return [theirs.index(name) for name in ours]


def _mirror(member: Predictor, classes: Sequence[str]) -> list[int]:
    """Which class each is in a mirror image, as the network has learned it; the log names those that are sides."""
    pairs, _ = class_sides(classes)
    named = ", ".join(f"{classes[first]} and {classes[second]}" for first, second in pairs)
    if member.keeps_sides:
        if named:
            _log.info("%s: %s stay in mirror images, as it was trained with flip", member.name, named)
        return list(range(len(classes)))
    order = class_order(classes)
    if named:
        _log.info("%s: in mirror images change places: %s", member.name, named)
    return order


class _Pooled(nn.Module):
    """The mean of a map of scores (B, N, H, W): (B, N)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).mean((2, 3))


def _dense(member: Predictor) -> nn.Module:
    """The classifier for images of any size: the mean of the scores at each position of its last map.

    After a global average, the linear layer gives that mean itself. One that flattens its map, or averages it to a
    fixed size, becomes fully convolutional.
    """
    pools = [part for part in member.model.modules() if isinstance(part, nn.AdaptiveAvgPool2d)]
    if pools and all(pool.output_size in (1, (1, 1)) for pool in pools):
        return member.model
    image = torch.zeros(1, member.preprocessing.channels, *(member.preprocessing.size_hw or ()), device=member.device)
    return _Pooled(fully_convolutional(member.model, image=image)).eval()
