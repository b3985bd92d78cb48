"""The paired bootstrap: what it shows, what it does not, and how often it is right."""

import numpy as np
import pytest

from unpool.ops.paired_differences import paired_bootstrap


def mean_of(values):
    return lambda images: float(values[images].mean())


def test_equal_networks_differ_by_nothing():
    values = np.random.default_rng(0).random(30)
    found = paired_bootstrap(mean_of(values), mean_of(values), 30)
    assert (found.value, found.low, found.high, found.is_shown) == (0, 0, 0, False)


def test_both_networks_are_asked_about_the_same_images():
    values = np.random.default_rng(0).random(40)  # spread by 0.3, so that only pairs show a difference of 0.01
    found = paired_bootstrap(mean_of(values), mean_of(values + 0.01), 40)
    assert (found.low, found.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert found.is_shown


def test_interval_holds_the_truth_in_about_95_of_100_sets():
    random, held = np.random.default_rng(1), 0
    for _ in range(300):
        first, second = random.normal(size=(2, 60))
        found = paired_bootstrap(mean_of(first), mean_of(second), 60, replicates=200)
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_interval_is_as_wide_as_the_standard_error_says():
    first, second = np.random.default_rng(2).normal(size=(2, 400))
    found = paired_bootstrap(mean_of(first), mean_of(second), 400, replicates=2000)
    error = (second - first).std() / 400**0.5
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.08)


def test_seed_decides_the_draws():
    first, second = np.random.default_rng(3).normal(size=(2, 50))
    draws = [paired_bootstrap(mean_of(first), mean_of(second), 50, replicates=50, seed=seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0][:3] != draws[2][:3]


def test_score_that_is_not_known_is_no_difference():
    assert paired_bootstrap(lambda images: None, lambda images: 1.0, 5) is None
    known = mean_of(np.arange(5.0))
    some = paired_bootstrap(lambda images: None if images[0] == 0 else 0.0, known, 5, replicates=100)
    assert some is None  # on all images, the first of which is number 0
    few = paired_bootstrap(lambda images: None if images[0] == 3 else 0.0, known, 5, replicates=100)
    assert 0 < few.replicates < 100
