"""How random numbers of a data set are recognised."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from unpool.data.equality import content_of
from unpool.data.loader import Loader
from unpool.data.order import Sequential
from unpool.data.plain import DatasetReader, Levels, find_drawing, read_seeded
from unpool.data.store import scan
from unpool.types import DataInfo

GIVES = ("image", "label")
OF_THE_MODULE = random.Random(0)


class Numbers:
    """Ten black images, read by a function of the position."""

    def __init__(self, read):
        self.read = read

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return self.read(index)


def black(index):
    return torch.zeros(1, 2, 2), index


def grey(draw):
    return lambda index: (torch.full((1, 2, 2), float(draw())), index)


def seldom(draw):
    """Draws each time, and shows it never."""

    def read(index):
        draw()
        return black(index)

    return read


def self_seeded(index):
    torch.manual_seed(index)
    return torch.rand(1, 2, 2), index


def drawing(read, indices=(0, 1, 2)):
    return find_drawing(Numbers(read), indices, GIVES)


@pytest.mark.parametrize("how", [grey, seldom])
@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda: torch.rand(()), "shared"),
        (np.random.rand, "shared"),
        (random.random, "shared"),
        (lambda: 0, ""),
    ],
)
def test_numbers_of_shared_generators_are_known_also_where_they_seldom_matter(how, draw, expected):
    states = torch.get_rng_state(), random.getstate()
    assert drawing(how(draw)) == expected
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()


@pytest.mark.parametrize(
    "generator",
    [
        np.random.default_rng(0),
        np.random.RandomState(0),
        random.Random(0),
        torch.Generator(),
    ],
)
def test_a_generator_of_a_sets_own_is_known_also_where_it_seldom_matters(generator):
    def draw():
        if isinstance(generator, torch.Generator):
            return torch.rand((), generator=generator)
        return generator.random()

    data = Numbers(seldom(draw))
    assert find_drawing([torch.utils.data.Subset(data, range(4))][0], (0, 1), GIVES) == "private"


@pytest.mark.parametrize("draw", [random.SystemRandom().random, OF_THE_MODULE.random], ids=["system", "module"])
def test_numbers_that_cannot_be_seeded_are_its_own(draw):
    assert drawing(grey(draw)) == "private"


def test_a_generator_of_the_sets_module_is_its_own():
    class Turned(Numbers):
        def __getitem__(self, index):
            OF_THE_MODULE.random()
            return black(index)

    assert find_drawing(Turned(None), (0, 1), GIVES) == "private"


def test_a_set_that_seeds_itself_by_the_position_draws_nothing():
    assert drawing(self_seeded) == ""
    held = torch.Generator()
    assert drawing(lambda index: (torch.rand(1, 2, 2, generator=held.manual_seed(index)), index)) == ""


def test_a_file_that_is_not_there_is_left_to_the_scan():
    def missing(index):
        if index == 1:
            raise FileNotFoundError(2, "No such file", "1.png")
        return torch.rand(1, 2, 2), index

    assert drawing(missing) == "shared"


@pytest.mark.parametrize("extra", [object, lambda: {"age": float("nan"), "drawn": random.SystemRandom().random()}])
def test_values_that_no_task_reads_are_not_compared(extra):
    assert drawing(lambda index: (*black(index), extra())) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (np.zeros(2), np.zeros(2, np.float32)),
        (Image.new("L", (2, 3)), Image.new("L", (3, 2))),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1, 2], [1, 3]),
    ],
)
def test_content_is_equal_where_values_are(one, other):
    assert content_of(one) == content_of(one)
    assert content_of(one) != content_of(other)
    assert content_of([float("nan"), torch.tensor(float("nan"))]) == content_of(
        [float("nan"), torch.tensor(float("nan"))]
    )


def test_a_seeded_reading_gives_the_same_sample_and_leaves_the_generators():
    reader = DatasetReader(
        Numbers(grey(lambda: torch.rand(()))), gives=GIVES, info=DataInfo(classes=tuple("0123456789")),
        levels=Levels(white=1.0), part="val", drawing="shared",
    )  # fmt: skip
    state, scanned = torch.get_rng_state(), scan(reader, memory=False).samples
    loader = Loader(
        scanned, lambda samples, _: {"image": samples[0]["image"]}, order=Sequential(10, batch=1), workers=1
    )
    assert torch.equal(loader.batch_of([1], 0)["image"], loader.batch_of([1], 0)["image"])
    assert not torch.equal(loader.batch_of([1], 0)["image"], loader.batch_of([1], 1)["image"])
    images = [read_seeded(reader, index)["image"] for index in (1, 1, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    assert not torch.equal(reader[1]["image"], reader[1]["image"])
