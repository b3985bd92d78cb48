"""The things of an image whose number is known: on the network's input, on the image, and checked in a whole set."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unpool.errors import DataError
from unpool.metrics.localization import counted, fault_of
from unpool.ops.layout import Layout
from unpool.types import Batch, Samples

WHOLE = (1, 1)  # the input as one pixel, from -0.5 to 0.5
_SHOWN = 8  # images that a message lists


def truth_of(batch: Batch, things: int) -> tuple[Tensor, Tensor, Tensor]:
    """The images that show all their things, and these.

    Args:
        batch: with boxes and labels on the image.
        things: N, that each image must show.

    Returns:
        (M,) positions in the batch; (M, N, 4) corners, the network's input from -0.5 to 0.5; (M, N) classes.

    Example:
        >>> batch = {"image": torch.zeros(1, 3, 8, 4), "boxes": [torch.tensor([[0.0, 2.0, 4.0, 8.0]])]}
        >>> truth_of({**batch, "labels": [torch.tensor([7])]}, 1)
        (tensor([0]), tensor([[[-0.5000, -0.2500,  0.5000,  0.5000]]]), tensor([[7]]))
    """
    images = [counted(batch, i) for i in range(len(batch["boxes"]))]
    known = [i for i, (boxes, _) in enumerate(images) if len(boxes) == things]
    index = torch.tensor(known, device=batch["image"].device, dtype=torch.int64)
    if not known:
        return index, torch.zeros(0, things, 4, device=index.device), index.new_zeros((0, things))
    boxes, labels = (torch.stack([images[i][part] for i in known]) for part in (0, 1))
    layout = Layout.of(batch)
    layout = Layout(layout.valid_xyxy[index], layout.size_hw[index], layout.input_hw)
    corners = layout.points_to_input(boxes.float().reshape(len(known), -1, 2) - 0.5, WHOLE)
    return index, corners.reshape(boxes.shape), labels


def boxes_on_image(boxes: Tensor, layout: Layout) -> Tensor:
    """Carries boxes back to the image, within it; one whose corners are exchanged has them put in order.

    Args:
        boxes: (B, ..., 4) corners, the network's input from -0.5 to 0.5.
        layout: of the B images.

    Returns:
        (B, ..., 4) xyxy in pixels.

    Example:
        >>> layout = Layout.of({"image": torch.zeros(1, 3, 8, 4)})
        >>> boxes_on_image(torch.tensor([[0.5, -0.25, -0.5, 0.75]]), layout)
        tensor([[0., 2., 4., 8.]])
    """
    points = layout.points_to_image(boxes.flatten(1).unflatten(1, (-1, 2)), WHOLE) + 0.5  # (B, corners, 2)
    limits = layout.size_hw.flip(1).to(points)[:, None]
    corners = points.clamp(min=0).minimum(limits).reshape(*boxes.shape[:-1], 2, 2)
    return torch.cat([corners.amin(-2), corners.amax(-2)], dim=-1)


def check_things(samples: Samples, things: int, *, by_class: bool) -> None:
    """Raises DataError where an image of a set has another number of things; names the images and their numbers.

    Args:
        samples: the set.
        things: that each image must show.
        by_class: whether they must be one of each class.
    """
    faults = []
    for i, name in enumerate(samples.names):
        _, labels = counted(alone(samples.targets(i)), 0)
        if fault := fault_of(labels, things, by_class=by_class):
            faults.append(f"{name} has {fault}")
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise DataError(
            f"task.things is {things}{', one of each class' if by_class else ''}, and of {len(samples.names)} images "
            f"{', '.join(faults[:_SHOWN])}{more}: leave these images out, or train a detector, which answers with any "
            "number of boxes"
        )


def most_frequent(samples: Samples, num_classes: int) -> tuple[int, Tensor]:
    """The most frequent class of a set, and its mean box (4,) in sides of the image."""
    seen = [counted(alone(samples.targets(i)), 0) for i in range(len(samples))]
    labels = torch.cat([label for _, label in seen])
    sides = [torch.tensor([width, height, width, height]) for height, width in samples.sizes_hw]
    shares = torch.cat([boxes / side for (boxes, _), side in zip(seen, sides, strict=True)])
    return int(torch.bincount(labels, minlength=num_classes).argmax()), shares.mean(0)


def alone(targets: Mapping[str, Tensor]) -> dict[str, Sequence[Tensor]]:
    """Targets of one image as a batch of it.

    >>> alone({"labels": torch.tensor([2])})
    {'labels': [tensor([2])]}
    """
    return {key: [value] for key, value in targets.items()}


def of_classes(boxes: Tensor, labels: Tensor) -> Tensor:
    """The box that each answer has for the class of each thing.

    Args:
        boxes: (B, N, C, 4) of the answers; C is 1 where one box is for all classes.
        labels: (B, N) of the things.

    Returns:
        (B, N things, N answers, 4).

    Example:
        >>> boxes = torch.arange(2.0).reshape(1, 1, 2, 1).expand(-1, -1, -1, 4)
        >>> of_classes(boxes, torch.tensor([[1]])).tolist()
        [[[[1.0, 1.0, 1.0, 1.0]]]]
    """
    number, answers = labels.shape[1], boxes.shape[1]
    index = labels.clamp(max=boxes.shape[2] - 1)[:, :, None, None, None].expand(-1, -1, answers, 1, 4)
    return boxes[:, None].expand(-1, number, -1, -1, -1).gather(3, index).squeeze(3)
