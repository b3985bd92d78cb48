"""What is taken out of a DataLoader, and what is not."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from unpool.data.plain import Source, draws_numbers, unwrapped
from unpool.data.plain.sampled import Sampled
from unpool.errors import DataError, RecipeError


class Numbers(Dataset):
    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((1, 2, 2), index), index


class Stream(IterableDataset):
    """Ten samples in turn; notes how often it was begun."""

    def __init__(self, count=10, length=None):
        self.count, self.begun = count, 0
        if length is not None:
            self.length = length

    def __iter__(self):
        self.begun += 1
        yield from ((torch.full((1, 2, 2), i), i) for i in range(self.count))


class Sized(Stream):
    def __len__(self):
        return self.length


def source_of(data):
    return unwrapped(data, name="train")


def test_a_data_set_and_a_list_are_themselves():
    for data in (Numbers(), [(0, 1), (2, 3)]):
        assert source_of(data) == Source(data)


@pytest.mark.parametrize("order", [{"shuffle": True}, {"shuffle": False}, {"sampler": RandomSampler(Numbers())}])
def test_a_loader_gives_its_set_and_its_batches(order):
    data = Numbers()
    source = source_of(DataLoader(data, 4, drop_last=True, **order))
    assert (source.dataset, source.batch, source.drop_last, source.why_no_resume) == (data, 4, True, "")
    assert source.batches is None


def test_an_order_that_is_not_kept_is_named():
    assert "shuffled all the same" in source_of(DataLoader(Numbers(), 4)).notes[0]
    assert not source_of(DataLoader(Numbers(), 4, shuffle=True)).notes
    assert not unwrapped(DataLoader(Numbers(), 4), name="val").notes


def test_a_random_part_is_that_part():
    source = source_of(DataLoader(Numbers(), 2, sampler=SubsetRandomSampler([3, 5, 8])))
    assert [source.dataset[i][1] for i in range(len(source.dataset))] == [3, 5, 8]
    assert not source.why_no_resume


@pytest.mark.parametrize(
    "order",
    [
        {"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * 10, 8)},
        {"batch_size": 5, "sampler": RandomSampler(Numbers(), replacement=True)},
        {"batch_sampler": [[0, 1, 2, 3], [9, 8, 7, 6]]},
    ],
    ids=["weighted", "with replacement", "batches"],
)
def test_an_order_of_its_own_is_used_and_cannot_be_resumed(order):
    source = source_of(DataLoader(Numbers(), **order))
    assert "cannot be drawn again" in source.why_no_resume
    drawn = Sampled(source.batches, num_samples=10, batch=4)
    assert [len(indices) for indices in drawn.batches(0)] in ([4, 4], [5, 5])
    assert drawn.batches(0) == drawn.batches(0)


def test_a_sampler_derived_from_torchs_is_of_its_own():
    class Reversed(RandomSampler):
        def __iter__(self):
            return iter(range(9, -1, -1))

    source = source_of(DataLoader(Numbers(), 5, sampler=Reversed(Numbers())))
    assert Sampled(source.batches, num_samples=10, batch=5).batches(0) == [[9, 8, 7, 6, 5], [4, 3, 2, 1, 0]]


def test_a_sampler_is_asked_once_an_epoch_and_learns_which():
    class Counting(SequentialSampler):
        epochs = ()

        def set_epoch(self, epoch):
            self.epochs = (*self.epochs, epoch)

    sampler = Counting(Numbers())
    order = Sampled(BatchSampler(sampler, 5, drop_last=False), num_samples=10, batch=5)
    order.batches(0)
    order.batches(1)
    order.batches(1)
    assert sampler.epochs == (0, 1)


def test_a_sampler_that_gives_less_or_something_else_is_refused():
    class Shrinking:
        count = 3

        def __iter__(self):
            self.count -= 1
            return iter([[0]] * (self.count + 1))

    order = Sampled(Shrinking(), num_samples=10, batch=1)
    with pytest.raises(DataError, match="2 batches in epoch 1, and 3 are needed"):
        order.batches(1)
    with pytest.raises(DataError, match="position 10 of a data set of 10"):
        Sampled([[0, 10]], num_samples=10, batch=2)


def test_a_collate_function_makes_each_sample():
    def doubled(items):
        image, label = default_collate(items)
        return {"image": image * 2, "label": label}

    source = source_of(DataLoader(Numbers(), 2, collate_fn=doubled))
    assert int(source.dataset[3]["image"][0, 0, 0]) == 6
    assert int(source.dataset[3]["label"]) == 3


def test_a_collate_function_that_mixes_samples_is_refused():
    def mixed(items):
        image, label = default_collate(items)
        return (image.double() + image.double().flip(0)) / 2, label

    with pytest.raises(RecipeError, match="it mixes or pads samples"):
        source_of(DataLoader(Numbers(), 2, collate_fn=mixed))


def test_an_iterable_is_read_in_turn_and_begun_anew():
    source = source_of(DataLoader(Stream(), 4))
    assert "IterableDataset" in source.why_no_resume
    assert source.is_iterated
    for _ in range(2):
        assert [source.dataset[i][1] for i in range(10)] == list(range(10))
    assert [source.dataset[i][1] for i in (2, 1, 0, 3)] == [2, 1, 0, 3]  # threads ask a little out of order


def test_an_iterable_with_a_length_is_not_counted():
    stream = Sized(10, length=10)
    assert len(source_of(stream).dataset) == 10
    assert stream.begun == 0


def test_an_iterable_that_ends_early_says_so():
    with pytest.raises(DataError, match="ended after 10 samples, and 12 were expected"):
        source_of(Sized(10, length=12)).dataset[11]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("photos", "is a str"),
        ({"image": 1}, "is a dict"),
        (3, "is a int"),
        (DataLoader(Numbers(), batch_size=None), "batch_size=None"),
    ],
)
def test_what_has_no_samples_is_refused(data, said):
    with pytest.raises(RecipeError, match=said):
        source_of(data)


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), np.random.rand, random.random, np.random.default_rng().random])
def test_a_set_that_draws_is_known_by_it(draw):
    class Drawing(Numbers):
        def __getitem__(self, index):
            return float(draw()), index

    class Quiet(Numbers):
        def __getitem__(self, index):
            draw()
            return 0, index

    assert draws_numbers(Drawing(), [0, 1])
    assert not draws_numbers(Numbers(), [0, 1])
    if not isinstance(getattr(draw, "__self__", None), np.random.Generator):
        assert draws_numbers(Quiet(), [0])
