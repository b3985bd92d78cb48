"""The counter-based generator: known answers, and numbers that depend on nothing but their key."""

import numpy as np
import pytest
import torch

from unpool.data.draws import Draws, permutation, philox


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter: tuple[int, ...], key: int, words: str) -> None:
    result = philox(np.array(counter, dtype=np.uint64).reshape(4, 1), key)
    assert " ".join(f"{int(word):08x}" for word in result[:, 0]) == words


def many(draws: Draws, count: int) -> torch.Tensor:
    return torch.stack([draws.uniform() for _ in range(count)])


def test_a_sample_draws_the_same_alone_and_in_any_batch() -> None:
    together = many(Draws(3, 5, index=torch.tensor([8, 1, 2**33 + 1, 40])), 40)
    alone = many(Draws(3, 5, index=torch.tensor([1])), 40)
    assert torch.equal(together[:, 1:2], alone)


def test_seed_epoch_index_and_stream_each_change_the_numbers() -> None:
    index = torch.tensor([4])
    rows = [
        many(Draws(seed, epoch, index=at, stream=stream), 8)
        for seed, epoch, at, stream in (
            (0, 0, index, 0),
            (1, 0, index, 0),
            (2**32, 0, index, 0),
            (0, 1, index, 0),
            (0, 0, index + 1, 0),
            (0, 0, index, 1),
        )
    ]
    assert len({tuple(row.flatten().tolist()) for row in rows}) == len(rows)


def test_uniform_numbers_are_even_and_independent() -> None:
    numbers = many(Draws(0, 0, index=torch.arange(20_000)), 20)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert torch.allclose(numbers.mean(1), torch.tensor(0.5).double(), atol=0.01)
    assert torch.allclose(numbers.var(1), torch.tensor(1 / 12).double(), atol=0.003)
    assert torch.corrcoef(numbers).fill_diagonal_(0).abs().max() < 0.04


def test_normal_and_integer_numbers_have_their_distribution() -> None:
    draws = Draws(0, 0, index=torch.arange(20_000))
    normal = draws.normal()
    assert abs(float(normal.mean())) < 0.03
    assert abs(float(normal.std()) - 1) < 0.03
    assert draws.integer(-2, 2).unique(return_counts=True)[0].tolist() == [-2, -1, 0, 1, 2]
    assert draws.integer(-2, 2).unique(return_counts=True)[1].min() > 3700
    assert abs(float(draws.coin(0.3).double().mean()) - 0.3) < 0.02


def test_permutation_is_one_and_even() -> None:
    first = torch.stack([permutation(0, epoch, 10)[:1] for epoch in range(2000)])
    assert permutation(7, 3, 1000).sort().values.tolist() == list(range(1000))
    assert first.flatten().bincount(minlength=10).min() > 140


def test_generators_of_samples_differ_and_are_the_same_again() -> None:
    def fields(index: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.rand(4, generator=one) for one in Draws(5, 2, index=index).generators()])

    found = fields(torch.arange(30))
    assert len(set(found[:, 0].tolist())) == 30
    assert torch.equal(fields(torch.tensor([9, 3])), found[[9, 3]])
