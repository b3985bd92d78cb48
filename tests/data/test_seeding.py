"""Numbers that a data set of the caller's own draws in a process that makes batches."""

import random

import numpy as np
import torch

from unpool.data.seeding import seed_generators


def drawn(*key):
    seed_generators(*key)
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002, what a user's set may call


def test_what_is_drawn_is_a_function_of_seed_epoch_and_position():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    numbers = [drawn(*key) for key in keys]
    assert numbers == [drawn(*key) for key in keys]
    for of_one_source in zip(*numbers, strict=True):
        assert len(set(of_one_source)) == len(keys)
