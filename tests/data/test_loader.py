"""The order of samples and the thread that makes batches ahead of time."""

import threading
import time

import pytest
import torch

from tests.data.loading import Numbers, augmented, plain
from unpool.data.loader import Loader
from unpool.data.order import Shuffled
from unpool.errors import DataError, EnvironmentFault


def make(samples: Numbers | None = None, **changes: object) -> Loader:
    """Shuffled batches of 4; `batch` and `drop_last` go to the order."""
    numbers = Numbers() if samples is None else samples
    options: dict = {"workers": 0, "transform": plain, "batch": 4} | changes
    ordered = {key: options.pop(key) for key in ("batch", "drop_last") if key in options}
    order = options.pop("order", None) or Shuffled(len(numbers), seed=0, **ordered)
    return Loader(numbers, options.pop("transform"), order=order, **options)


def indices(loader: Loader, epoch: int = 0, position: int = 0, epochs: int = 1) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader.stream(epoch, position, epochs)]


def test_an_epoch_takes_the_batches_of_the_order() -> None:
    loader = make()
    assert indices(loader) == Shuffled(23, batch=4, seed=0).batches(0)
    assert loader.steps_per_epoch == 6


def test_stream_from_a_place_is_the_rest_of_the_whole_stream() -> None:
    whole = indices(make(), 0, 0, 4)
    assert indices(make(), 2, 3, 4) == whole[2 * 6 + 3 :]
    assert indices(make(), 4, 0, 4) == []


def test_transform_hears_the_epoch() -> None:
    epochs = [set(batch["epoch"].tolist()) for batch in make().stream(1, 5, 4)]
    assert epochs == [{1}] + [{2}] * 6 + [{3}] * 6


def test_empty_and_too_small_sets_are_refused() -> None:
    with pytest.raises(DataError, match="no samples"):
        make(Numbers(0))
    with pytest.raises(DataError, match=r"3 samples do not fill one batch of 4.*train.batch=3"):
        make(Numbers(3), drop_last=True)


def test_order_of_another_set_is_refused() -> None:
    with pytest.raises(ValueError, match="the order is of 22 samples and the set has 23"):
        make(order=Shuffled(22, batch=4, seed=0))


def test_errors_of_the_set_reach_the_consumer_as_they_are() -> None:
    with pytest.raises(DataError, match=r"number/5\.png: broken"):
        indices(make(Numbers(trouble="broken")))
    with pytest.raises(KeyError, match="a mistake in a reader"):
        indices(make(Numbers(trouble="faulty")))


def test_a_read_that_hangs_is_named_after_the_time_given() -> None:
    began = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"reading number/5.png has taken more than 0.3 s"):
        indices(make(Numbers(trouble="stuck"), timeout_s=0.3))
    assert time.monotonic() - began < 5


def test_slow_samples_are_no_hang_while_they_come() -> None:
    assert len(indices(make(Numbers(seconds=0.04), batch=12, timeout_s=0.3))) == 2


def test_torch_generator_and_threads_of_the_caller_stay() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = torch.get_rng_state()
        indices(make(transform=augmented(8)))
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads)


def test_threads_that_the_caller_starts_meanwhile_compute_as_the_caller_does() -> None:
    """A thread takes the number of the process when it first asks, which the thread of the loader sets too."""
    threads, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        stream = make(transform=augmented(8)).stream(0, 0, 1)
        next(stream)
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        stream.close()
    finally:
        torch.set_num_threads(threads)
    assert seen == [2]


def test_the_thread_computes_on_one_core() -> None:
    seen = []

    def transform(samples: list, epoch: int) -> dict:
        torch.ones(10).sum()
        seen.append(torch.get_num_threads())
        return plain(samples, epoch)

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        indices(make(transform=transform))
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {1}


def test_a_stream_left_half_way_ends_its_thread() -> None:
    before = set(threading.enumerate())
    stream = make(Numbers(4000, seconds=0.05)).stream(0, 0, 1)
    next(stream)
    (thread,) = set(threading.enumerate()) - before
    stream.close()  # in the middle of a sample
    assert not thread.is_alive()


def test_waiting_is_measured_on_both_sides() -> None:
    slow_data = make(Numbers(8, seconds=0.02))
    indices(slow_data)
    assert slow_data.waited_s > 0.08
    slow_consumer = make(Numbers(24))
    for _ in slow_consumer.stream(0, 0, 1):
        time.sleep(0.03)
    assert slow_consumer.ready_s > 0.08
    assert slow_consumer.waited_s < 0.08
