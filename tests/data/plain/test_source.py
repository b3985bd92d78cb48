"""What is taken out of a DataLoader, and what is not."""

from collections import UserDict
from threading import get_ident
from weakref import ref

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

from unpool.data.plain import DatasetReader, Levels, Source, unwrapped
from unpool.data.plain.sampled import Sampled
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.types import DataInfo


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


@pytest.mark.parametrize(
    "order",
    [
        {"shuffle": True},
        {"shuffle": False},
        {"sampler": RandomSampler(Numbers())},
        {"batch_sampler": BatchSampler(RandomSampler(Numbers()), 4, drop_last=True)},
    ],
)
def test_a_loader_gives_its_set_and_its_batches(order):
    data = Numbers()
    source = source_of(
        DataLoader(data, **({} if "batch_sampler" in order else {"batch_size": 4, "drop_last": True}), **order)
    )
    assert (source.dataset, source.batch, source.drop_last, source.why_no_resume) == (data, 4, True, "")
    assert source.batches is None


def test_an_order_that_is_not_kept_is_named():
    assert "shuffled all the same" in source_of(DataLoader(Numbers(), 4)).notes[0]
    assert not source_of(DataLoader(Numbers(), 4, shuffle=True)).notes
    assert not unwrapped(DataLoader(Numbers(), 4), name="val").notes


@pytest.mark.parametrize(
    ("sampler", "positions"),
    [
        (SubsetRandomSampler([3, 5, 8]), [3, 5, 8]),
        (SequentialSampler(range(3)), [0, 1, 2]),
        (RandomSampler(range(3)), [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("is_batched", [False, True])
def test_a_sampler_of_a_part_is_that_part(sampler, positions, is_batched):
    order = (
        {"batch_sampler": BatchSampler(sampler, 2, drop_last=False)}
        if is_batched
        else {"sampler": sampler, "batch_size": 2}
    )
    source = unwrapped(DataLoader(Numbers(), **order), name="val")
    assert [source.dataset[i][1] for i in range(len(source.dataset))] == positions
    assert (source.batch, source.batches, source.why_no_resume) == (2, None, "")


def test_a_sampler_of_positions_that_are_not_is_refused():
    with pytest.raises(RecipeError, match="sampler of train gives position 10 of a data set of 10"):
        source_of(DataLoader(Numbers(), sampler=RandomSampler(range(12))))


@pytest.mark.parametrize(
    "order",
    [
        {"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * 10, 8)},
        {"batch_size": 5, "sampler": RandomSampler(Numbers(), replacement=True)},
        {"batch_sampler": [[0, 1, 2, 3], [9, 8, 7, 6]]},
        {"batch_sampler": BatchSampler(WeightedRandomSampler([1.0] * 10, 8), 4, drop_last=False)},
    ],
    ids=["weighted", "with replacement", "batches", "weighted batches"],
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


OWN = np.random.default_rng(0)


@pytest.mark.parametrize("permutation", [torch.randperm, OWN.permutation])
def test_a_collate_function_that_draws_is_refused_whatever_it_draws(permutation):
    def mixed(items):
        permutation(len(items))  # as it falls out where each sample is mixed with itself
        return default_collate(items)

    before = torch.get_rng_state()
    with pytest.raises(RecipeError, match="collate_fn of train draws random numbers"):
        source_of(DataLoader(Numbers(), 2, collate_fn=mixed))
    assert torch.equal(before, torch.get_rng_state())


def broken(items):
    raise KeyError("label")


@pytest.mark.parametrize(
    ("collate", "said"),
    [
        (broken, "collate_fn of train raised KeyError for 8 samples: 'label'"),
        (
            lambda items: (*default_collate(items), 0.4),
            r"gives Tensor \(8, 1, 2, 2\), Tensor \(8,\), float for 8 samples",
        ),
        (lambda items: default_collate(items[:1]), r"gives Tensor \(1, 1, 2, 2\).* one entry for each sample"),
        (lambda items: 3, "gives int for 8 samples"),
    ],
)
def test_a_collate_function_whose_samples_cannot_be_taken_is_named(collate, said):
    with pytest.raises(DataError, match=said):
        source_of(DataLoader(Numbers(), 2, collate_fn=collate))


def test_a_collate_function_may_give_one_tensor_or_any_mapping():
    one = source_of(DataLoader(Numbers(), collate_fn=lambda items: torch.stack([image for image, _ in items])))
    assert torch.equal(one.dataset[3], Numbers()[3][0])
    named = source_of(DataLoader(Numbers(), collate_fn=lambda items: UserDict(label=[label for _, label in items])))
    assert named.dataset[3] == {"label": 3}


def test_none_that_a_collate_function_leaves_out_is_named():
    class Gaps(Numbers):
        def __getitem__(self, index):
            if index == 2:
                raise FileNotFoundError(2, "No such file", "2.png")
            return super().__getitem__(index) if index != 3 else None

    loader = DataLoader(Gaps(), collate_fn=lambda items: default_collate([item for item in items if item is not None]))
    source = source_of(loader)
    assert int(source.dataset[4][1]) == 4
    with pytest.raises(DataError, match="gives None, which stands for no sample"):
        source.dataset[3]


def test_an_iterable_is_read_in_turn_and_begun_anew():
    source = source_of(DataLoader(Stream(), 4))
    assert "IterableDataset" in source.why_no_resume
    assert source.is_iterated
    for _ in range(2):
        assert [source.dataset[i][1] for i in range(10)] == list(range(10))
    assert [source.dataset[i][1] for i in (2, 1, 0, 3)] == [2, 1, 0, 3]


def test_a_stream_that_shuffles_gives_each_sample_once_in_each_reading():
    class Shuffled(Stream):
        def __iter__(self):
            self.begun += 1
            yield from ((0, i) for i in np.random.default_rng(self.begun).permutation(self.count).tolist())

    data = source_of(Shuffled()).dataset
    data[6]
    for _ in range(3):
        assert sorted(data[i][1] for i in range(10)) == list(range(10))


def test_no_sample_of_a_stream_is_kept():
    samples = []

    class Watched(Stream):
        def __iter__(self):
            for _ in range(self.count):
                sample = torch.zeros(1)
                samples.append(ref(sample))
                yield sample

    data = source_of(Watched(100, length=100)).dataset
    data[99]
    assert sum(sample() is not None for sample in samples) <= 1


def test_a_scan_reads_a_stream_in_turn_in_one_thread_after_its_first_samples():
    read, threads = [], set()

    class Watched(Sized):
        def __iter__(self):
            for index in range(self.count):
                read.append(index)
                threads.add(get_ident())
                yield torch.zeros(1, 65, 65, dtype=torch.uint8), index

    data = source_of(Watched(40, length=40)).dataset
    names = tuple(map(str, range(40)))
    scan(DatasetReader(data, gives=("image", "label"), info=DataInfo(classes=names), levels=Levels(), part="val"))
    assert read == [*range(8), *range(40)]
    assert len(threads) == 1


def test_the_samples_of_a_stream_are_counted_aloud(caplog):
    source_of(Stream(1001))
    assert [record.message for record in caplog.records if "counted" in record.message] == [
        "counted 1000 samples so far: if the data set has no end, give it one by itertools.islice"
    ]


def test_an_iterable_with_a_length_is_not_counted():
    stream = Sized(10, length=10)
    assert len(source_of(stream).dataset) == 10
    assert stream.begun == 0


def test_an_iterable_that_ends_early_says_so():
    with pytest.raises(DataError, match="ended after 10 samples, and 12 were expected"):
        source_of(Sized(10, length=12)).dataset[11]


def test_an_iterable_that_goes_on_after_its_length_says_so():
    data = source_of(Sized(10, length=8)).dataset
    assert data[6][1] == 6
    with pytest.raises(DataError, match="has a length of 8, and an iteration of it goes on"):
        data[7]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("photos", "is a str"),
        ({"image": 1}, "is a dict"),
        (3, "is a int"),
        (DataLoader(Numbers(), batch_size=None), "batch_size=None"),
        (Dataset(), "is a Dataset without a length: give it __len__"),
    ],
)
def test_what_has_no_samples_is_refused(data, said):
    with pytest.raises(RecipeError, match=said):
        source_of(data)


def test_a_length_that_is_no_whole_number_is_named():
    class Half(list):
        def __len__(self):
            return 3 / 2

    with pytest.raises(RecipeError, match=r"train does not say how many samples it has: TypeError: .*whole number"):
        unwrapped(Half(), name="train")
