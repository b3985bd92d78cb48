from types import SimpleNamespace

import pytest
import torch

from tests.training.toy_run import make_job, prepare
from unpool.errors import EnvironmentFault, RecipeError
from unpool.training import memory
from unpool.training.loop import fit
from unpool.training.memory import batch_that_fits, kept_bytes, largest_batch, require_memory
from unpool.training.optim import build_optimizer
from unpool.training.preflight import dry_run, head

SIZES = [2, 4, 8, 16, 32, 64]


def batch_of(size):
    job = make_job()
    batch = next(job.loader.stream(0, 0, 1))
    more = {key: torch.cat([value] * (-(-size // len(value))))[:size] for key, value in batch.items()}
    return job, more


class Small(torch.nn.Module):
    """A network that has memory for a few images."""

    def __init__(self, inner, most, error):
        super().__init__()
        self.inner, self.most, self.error = inner, most, error

    def forward(self, image):
        if len(image) > self.most:
            raise self.error
        return self.inner(image)


ERRORS = [
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("could not create a primitive"),
    torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:20])
def test_step_that_does_not_fit_names_the_largest_batch_that_was_tried(error):
    job, batch = batch_of(32)
    job.model = Small(job.model, 5, error)
    with (
        pytest.raises(EnvironmentFault, match=r"by a step of 32 images; lower train.batch: a step of 4 fits"),
        batch_that_fits(job, batch),
    ):
        dry_run(job, batch, smallest=2)


def test_several_processes_are_told_the_batch_of_all_of_them(monkeypatch):
    monkeypatch.setattr(memory, "world_size", lambda: 3)
    job, batch = batch_of(32)
    job.model = Small(job.model, 5, ERRORS[0])
    said = r"a step of 96 images, 32 in each of 3 processes; lower train.batch: a step of 12 fits"
    with pytest.raises(EnvironmentFault, match=said), batch_that_fits(job, batch):
        dry_run(job, batch, smallest=2)


def test_step_of_which_not_one_image_fits_says_what_else_to_lower():
    job, batch = batch_of(8)
    job.model = Small(job.model, 0, ERRORS[0])
    with (
        pytest.raises(EnvironmentFault, match=r"not even one image fits: lower data.size"),
        batch_that_fits(job, batch),
    ):
        dry_run(job, batch, smallest=2)


def test_other_errors_pass_through():
    job, batch = batch_of(8)
    with pytest.raises(RecipeError, match="mine"), batch_that_fits(job, batch):
        raise RecipeError("mine")


def test_batch_beyond_the_free_memory_is_refused_before_it_is_tried(monkeypatch):
    job, batch = batch_of(32)
    each = kept_bytes(job, head(batch, 2)) / 2
    monkeypatch.setattr(memory, "free_bytes", lambda: int(each * 31))
    with pytest.raises(
        EnvironmentFault, match=r"a step of 32 images keeps .* are free; lower train.batch: a step of 15"
    ):
        require_memory(job, batch)
    monkeypatch.setattr(memory, "free_bytes", lambda: int(each * 33))
    require_memory(job, batch)


def test_bytes_that_a_step_keeps_grow_with_its_images():
    job, batch = batch_of(32)
    two, four = kept_bytes(job, head(batch, 2)), kept_bytes(job, head(batch, 4))
    assert two < four <= 2 * two


def test_batch_no_larger_than_what_is_measured_is_tried_at_once(monkeypatch):
    """Measuring takes a forward pass of two images: all that a batch of two would do."""
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    for size in (1, 2):
        require_memory(*batch_of(size))
    with pytest.raises(EnvironmentFault, match="a step of 3 images keeps"):
        require_memory(*batch_of(3))


def test_largest_batch_of_the_host_leaves_room_for_as_much_again_and_the_weights(monkeypatch):
    job, batch = batch_of(2)
    batch = {key: value.clone() for key, value in batch.items()}  # whose memory is that of two images
    each = kept_bytes(job, batch) / 2
    weights = 3 * 4 * sum(weight.numel() for weight in job.model.parameters())
    monkeypatch.setattr(memory, "free_bytes", lambda: int(2 * 16 * each + weights) + 1)
    assert largest_batch(job, batch, SIZES) == 16
    assert largest_batch(job, batch, SIZES[:3]) == 8
    assert largest_batch(job, batch, [1]) == 1
    monkeypatch.setattr(memory, "free_bytes", lambda: int(2 * 16 * each + weights) - 1)
    assert largest_batch(job, batch, SIZES) == 8
    monkeypatch.setattr(memory, "free_bytes", lambda: int(weights))
    with pytest.raises(EnvironmentFault, match=r"by a step of 2 images; not even 2 images fit: lower data\.size"):
        largest_batch(job, batch, SIZES)


def test_largest_batch_of_a_device_is_the_last_whose_step_was_taken(monkeypatch):
    job, batch = batch_of(2)
    job.model = Small(job.model, 37, torch.OutOfMemoryError("CUDA out of memory."))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    job.device = SimpleNamespace(type="meta")
    monkeypatch.setattr(memory, "_whole_step", lambda job, batch: job.model(prepare(batch)["image"]))
    assert largest_batch(job, batch, SIZES) == 32
    job.model = job.model.inner
    assert largest_batch(job, batch, SIZES[:5]) == 32


@pytest.mark.parametrize("name", ["sgd", "nesterov", "caffe_sgd", "adamw"])
def test_step_that_is_tried_keeps_what_the_optimizer_keeps_of_each_weight(name, monkeypatch):
    job, batch = batch_of(4)
    job.optimizer = build_optimizer(job.model, name=name, lr=0.1, momentum=0.9)
    made = []
    kind = type(job.optimizer)
    monkeypatch.setattr(kind, "step", lambda self, step=kind.step: (step(self), made.append(self))[0])
    memory._whole_step(job, batch)
    (tried,) = made
    fit(job)
    kept, expected = (sorted(one.state[weight].keys() for weight in one.state) for one in (tried, job.optimizer))
    assert len(kept) == len(expected) > 0
    assert [list(keys) for keys in kept] == [list(keys) for keys in expected]
