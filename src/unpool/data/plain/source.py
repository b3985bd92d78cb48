"""What is inside of a DataLoader, a data set or an iterable of a caller's own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
)

from unpool.data.equality import content_of
from unpool.data.plain.iterated import Iterated
from unpool.data.plain.reader import is_in_turn, item_of
from unpool.data.seeding import private_states, shared_restored, shared_states
from unpool.errors import DataError, RecipeError
from unpool.tracing.foreign import foreign_code

_COLLATED = 8  # samples by which a collate function is judged


class Source(NamedTuple):
    """A data set, and what its loader says of batches.

    Attributes:
        dataset: has `len` and `[i]`.
        batch: samples of a batch; None where no loader says it.
        drop_last: whether a last batch that is not full is left out; None where no loader says it.
        batches: of a sampler of the caller's own, anew in each epoch; None where the order is one that we make.
        why_no_resume: why a run on it cannot be resumed; empty where it can.
        notes: what of the loader is not used, a sentence each.
    """

    dataset: Any
    batch: int | None = None
    drop_last: bool | None = None
    batches: Iterable[Sequence[int]] | None = None
    why_no_resume: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_iterated(self) -> bool:
        """Whether samples come one after another only."""
        return is_in_turn(self.dataset)


def unwrapped(data: Any, *, name: str) -> Source:
    """The data set of a DataLoader, of an iterable, or the data set itself.

    Args:
        data: any of these.
        name: of the argument, for messages.

    Raises:
        RecipeError: it is none of these, has no length, or its loader makes batches in a way that samples cannot be
            taken out of.
    """
    if isinstance(data, DataLoader):
        return _of_loader(data, name=name)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, IterableDataset | str | dict):
        with foreign_code() as failure:
            len(data)
        if failure.error is not None:
            raise RecipeError(
                f"{name} does not say how many samples it has: {type(failure.error).__name__}: {failure}; its __len__ "
                "is to return a whole number"
            ) from failure.error
        return Source(data)
    if isinstance(data, IterableDataset):
        reason = f"{name} is an IterableDataset, of which no position can be found again"
        return Source(Iterated(data), why_no_resume=reason)
    if hasattr(data, "__getitem__") and not isinstance(data, str | dict):
        raise RecipeError(
            f"{name} is a {type(data).__name__} without a length: give it __len__, the number of its samples, or "
            "derive it from torch.utils.data.IterableDataset where its samples come in turn"
        )
    raise RecipeError(
        f"{name} is a {type(data).__name__}: give a torch.utils.data.Dataset or DataLoader of (image, target), a list "
        "of such pairs, or a reader"
    )


def _of_loader(loader: "DataLoader[Any]", *, name: str) -> Source:
    collate: Callable[..., Any] = loader.collate_fn
    if loader.batch_size is None and (loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset)):
        raise RecipeError(
            f"{name} is a DataLoader with batch_size=None, whose data set gives whole batches: give a data set of "
            "single samples"
        )
    inner = unwrapped(loader.dataset, name=f"{name}.dataset")
    notes = (f"worker_init_fn of {name} is not used",) if loader.worker_init_fn is not None else ()
    if collate is not default_collate:
        _check_collate(inner.dataset, collate, name=name)
        inner = inner._replace(dataset=Collated(inner.dataset, collate, name=name))
    if inner.is_iterated or isinstance(loader.dataset, IterableDataset):
        return inner._replace(batch=loader.batch_size, drop_last=loader.drop_last, notes=notes)
    return _ordered(loader, inner._replace(notes=notes), name=name)


def _ordered(loader: "DataLoader[Any]", inner: Source, *, name: str) -> Source:
    """With the batches of the loader's sampler, where that is one of the caller's own."""
    batches, count = loader.batch_sampler, len(inner.dataset)
    if type(batches) is not BatchSampler:
        reason = f"{name} has a sampler of its own ({type(batches).__name__}), whose order cannot be drawn again"
        return inner._replace(batches=batches, why_no_resume=reason)
    sampler, inner = batches.sampler, inner._replace(batch=batches.batch_size)
    positions = _taken_once(sampler)
    if positions is None:
        reason = f"{name} has a sampler of its own ({type(sampler).__name__}), whose order cannot be drawn again"
        return inner._replace(batches=batches, why_no_resume=reason)
    if wrong := [index for index in positions if not 0 <= index < count]:
        raise RecipeError(f"the sampler of {name} gives position {wrong[0]} of a data set of {count} samples")
    if name == "train" and type(sampler) is SequentialSampler:
        note = "train is a DataLoader that does not shuffle: its samples are shuffled all the same"
        inner = inner._replace(notes=(*inner.notes, f"{note}; a sampler of your own fixes their order"))
    if positions != range(count):
        inner = inner._replace(dataset=Subset(inner.dataset, list(positions)))
    return inner._replace(drop_last=batches.drop_last)


def _taken_once(sampler: Any) -> Sequence[int] | None:
    """Positions that a sampler of torch's takes once each, in an order that we may make; None of any other."""
    if type(sampler) is SubsetRandomSampler:
        return [int(index) for index in sampler.indices]
    if type(sampler) is SequentialSampler or _draws_all_once(sampler):
        return range(len(sampler.data_source))
    return None


def _draws_all_once(sampler: Any) -> bool:
    if type(sampler) is not RandomSampler:
        return False
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)


class Collated:
    """Samples as a collate function makes them, each of a batch of one.

    Args:
        dataset: has `len` and `[i]`.
        collate: from a list of items to a batch.
        name: of the loader, for messages.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any], *, name: str) -> None:
        self.dataset = dataset
        self._collate = collate
        self._name = name

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        if item is None:
            raise DataError("the data set gives None, which stands for no sample: leave such samples out of it")
        return _samples_of(self._collate, [item], name=self._name)[0]


def _samples_of(collate: Callable[[list[Any]], Any], items: list[Any], *, name: str) -> list[Any]:
    """The samples of the batch that a collate function makes of some items.

    Raises:
        DataError: its code raised an error, or gives a batch that samples cannot be taken out of.
    """
    batch: Any = None
    with foreign_code() as failure:
        batch = collate(items)
    if failure.error is not None:
        kind = type(failure.error).__name__
        raise DataError(f"collate_fn of {name} raised {kind} for {len(items)} samples: {failure}") from failure.error
    values = list(batch.values()) if isinstance(batch, Mapping) else batch
    if not isinstance(values, tuple | list):
        values = [values]
    if not all(_has_entries(value, len(items)) for value in values):
        raise DataError(
            f"collate_fn of {name} gives {', '.join(map(_shown, values))} for {len(items)} samples: each value must be "
            "a tensor or a list with one entry for each sample. Give the data set without the collate_fn"
        )
    return [_nth(batch, index) for index in range(len(items))]


def _has_entries(value: Any, count: int) -> bool:
    is_scalar = isinstance(value, Tensor | np.ndarray) and not value.ndim
    return isinstance(value, Tensor | np.ndarray | tuple | list) and not is_scalar and len(value) == count


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _nth(batch: Any, index: int) -> Any:
    """A sample of a batch of tensors or lists, in tuples, lists or dicts."""
    if isinstance(batch, Mapping):
        return {key: value[index] for key, value in batch.items()}
    return tuple(value[index] for value in batch) if isinstance(batch, tuple | list) else batch[index]


def _first(dataset: Any) -> Iterator[Any]:
    """The first samples that there are and can be read."""
    for index in range(min(len(dataset), _COLLATED)):
        try:
            item = item_of(dataset, index)
        except OSError:  # the scan names the file
            continue
        if item is not None:
            yield item


def _check_collate(dataset: Any, collate: Callable[[list[Any]], Any], *, name: str) -> None:
    """Raises RecipeError where a sample of a batch is another one than alone, or may be: where numbers are drawn."""
    items = list(_first(dataset))
    advice = "Give the data set without it; data.size brings images to one size, data.augment changes them at random"
    before = [*shared_states(), *private_states(collate)]
    with shared_restored():
        together = _samples_of(collate, items, name=name) if items else []
        draws = [*shared_states(), *private_states(collate)] != before
    if draws:
        raise RecipeError(f"collate_fn of {name} draws random numbers, and may mix samples by them. {advice}")
    alone = [_samples_of(collate, [item], name=name)[0] for item in items]
    if content_of(together) != content_of(alone):
        raise RecipeError(
            f"collate_fn of {name} gives a sample other values in a batch of {len(items)} than alone: it mixes or pads "
            f"samples. {advice}"
        )
