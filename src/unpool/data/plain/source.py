"""What is inside of a DataLoader, a data set or an iterable of a caller's own."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

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

from unpool.data.plain.iterated import Iterated
from unpool.data.plain.reader import equal_items, is_in_turn, item_of
from unpool.errors import RecipeError


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
        RecipeError: it is none of these, or its loader makes batches in a way that samples cannot be taken out of.
    """
    if isinstance(data, DataLoader):
        return _of_loader(data, name=name)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, IterableDataset | str | dict):
        return Source(data)
    if isinstance(data, IterableDataset):
        reason = f"{name} is an IterableDataset, of which no position can be found again"
        return Source(Iterated(data), why_no_resume=reason)
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
        inner = inner._replace(dataset=Collated(inner.dataset, collate))
    if inner.is_iterated or isinstance(loader.dataset, IterableDataset):
        return inner._replace(batch=loader.batch_size, drop_last=loader.drop_last, notes=notes)
    return _ordered(loader, inner._replace(notes=notes), name=name)


def _ordered(loader: "DataLoader[Any]", inner: Source, *, name: str) -> Source:
    """With the batches of the loader's sampler, where that is one of the caller's own."""
    sampler, batches = loader.sampler, loader.batch_sampler
    is_plain = type(batches) is BatchSampler
    if is_plain and type(sampler) is SubsetRandomSampler:
        subset = Subset(inner.dataset, list(sampler.indices))
        return inner._replace(dataset=subset, batch=loader.batch_size, drop_last=loader.drop_last)
    if is_plain and (type(sampler) is SequentialSampler or _takes_all_once(sampler)):
        if name == "train" and type(sampler) is SequentialSampler:
            note = "train is a DataLoader that does not shuffle: its samples are shuffled all the same"
            inner = inner._replace(notes=(*inner.notes, f"{note}; a sampler of your own fixes their order"))
        return inner._replace(batch=loader.batch_size, drop_last=loader.drop_last)
    kind = type(sampler if is_plain else batches).__name__
    reason = f"{name} has a sampler of its own ({kind}), whose order cannot be drawn again"
    return inner._replace(batch=loader.batch_size, batches=batches, why_no_resume=reason)


def _takes_all_once(sampler: Any) -> bool:
    if type(sampler) is not RandomSampler:
        return False
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)


class Collated:
    """Samples as a collate function makes them, each of a batch of one.

    Args:
        dataset: has `len` and `[i]`.
        collate: from a list of items to a batch.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any]) -> None:
        self.dataset = dataset
        self._collate = collate

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return _nth(self._collate([self.dataset[index]]), 0)


def _nth(batch: Any, index: int) -> Any:
    """A sample of a batch of tensors or lists, in tuples, lists or dicts."""
    if isinstance(batch, dict):
        return {key: value[index] for key, value in batch.items()}
    return tuple(value[index] for value in batch)


def _check_collate(dataset: Any, collate: Callable[[list[Any]], Any], *, name: str) -> None:
    """Raises RecipeError where a sample of a batch of two is another one than alone."""
    if len(dataset) < 2:
        return
    items = [item_of(dataset, index) for index in (0, 1)]
    both = collate(items)
    for index, item in enumerate(items):
        if not equal_items(_nth(both, index), _nth(collate([item]), 0)):
            raise RecipeError(
                f"collate_fn of {name} gives a sample other values in a batch of two than alone: it mixes or pads "
                "samples. Give the data set without it; data.size brings images to one size"
            )
