"""Range check of class targets, the only one: of files, of batches on the host, and of tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from unpool.errors import DataError
from unpool.types import IGNORE, Batch

CLASS_TARGETS = ("label", "labels", "mask")  # keys whose values are classes
_SHOWN = 8  # wrong values of one sample that a message lists


def names_of(batch: Batch, names: Sequence[str]) -> list[str]:
    """Name of each sample of a batch by its `index`; `sample 7` where names are missing, none without `index`.

    >>> names_of({"index": [1, 7]}, ["a.png", "b.png"])
    ['b.png', 'sample 7']
    """
    positions = [int(i) for i in batch.get("index", ())]
    return [names[i] if i < len(names) else f"sample {i}" for i in positions]


def check_classes(batch: Batch, num_classes: int, *, names: Sequence[str] = ()) -> None:
    """Raises DataError where `label`, `labels` or `mask` holds a value that is no class.

    Args:
        batch: each target a tensor of B samples or a list of B tensors; waits for the device if one is not on the host.
        num_classes: classes are 0 to `num_classes - 1`. A mask may hold IGNORE too. In a set without classes, labels
            are not checked, and a mask is 0 where it is not IGNORE.
        names: of the samples by `index`, for the message.

    Raises:
        DataError: names each file, or its index where names are missing, and the values.

    Example:
        >>> import torch
        >>> check_classes({"label": torch.tensor([0, 3])}, 3, names=["a.png", "b.png"])
        Traceback (most recent call last):
        unpool.errors.DataError: sample 1 of the batch: label [3], allowed are 0 to 2; correct the files or the \
list of classes
    """
    faults = []
    for key in CLASS_TARGETS:
        target = batch.get(key, ())
        if isinstance(target, Tensor) and not _unknown_values(key, target, num_classes):
            continue  # the quick way through most batches
        faults += [(row, fault) for row, value in enumerate(target) if (fault := _fault(key, value, num_classes))]
    if faults:
        known = names_of(batch, names)
        rows = (f"{known[row] if row < len(known) else f'sample {row} of the batch'}: {fault}" for row, fault in faults)
        raise DataError(f"{'; '.join(rows)}; correct the files or the list of classes")


def class_faults(targets: Mapping[str, Any], num_classes: int) -> str:
    """What is wrong with the class targets of one sample, in the words of `check_classes`; empty where nothing is.

    >>> import torch
    >>> class_faults({"label": torch.tensor(3)}, 3)
    'label [3], allowed are 0 to 2'
    """
    faults = [_fault(key, targets[key], num_classes) for key in CLASS_TARGETS if key in targets]
    return "; ".join(fault for fault in faults if fault)


def _fault(key: str, target: Tensor, num_classes: int) -> str:
    values = _unknown_values(key, target, num_classes)[:_SHOWN]
    if not values:
        return ""
    allowed = f"0 to {num_classes - 1}" if num_classes else "0"
    return f"{key} {values}, allowed are {allowed}{f' and {IGNORE} for no label' if key == 'mask' else ''}"


def _unknown_values(key: str, target: Tensor, num_classes: int) -> list[int]:
    """Values of a target that are neither a class nor allowed beside the classes, sorted."""
    is_mask = key == "mask"
    if not target.numel() or not (num_classes or is_mask):
        return []
    limit = max(num_classes, 1)  # a mask of a set without classes is 0 where it is labelled
    low, high = (int(bound) for bound in target.aminmax())
    if low >= 0 and high < limit:
        return []
    wrong = (target < 0) | (target >= limit)
    return target[wrong & (target != IGNORE) if is_mask else wrong].unique().tolist()
