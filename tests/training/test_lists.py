"""Batches that hold lists: boxes and their labels, and images of several sizes, through every part of a run."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tests.training.toy_run import Loader, Task, make_job, same_bits, weights
from unpool.errors import DataError, Diverged, RecipeError
from unpool.training import remembered_speed
from unpool.training.evaluation import evaluate
from unpool.training.job import count_images, lay_out, to_device
from unpool.training.loop import fit
from unpool.training.preflight import dry_run
from unpool.types import Batch, Losses, Prediction, Term

CPU = torch.device("cpu")


class Boxes(Loader):
    """Images of one size or several, each with a number of boxes, between none and three, of its own."""

    def __init__(self, *, sizes: tuple[int, ...] = (6,), batch: int = 4) -> None:
        super().__init__(batch=batch)
        self.sizes = sizes

    def stream(self, epoch: int, position: int, epochs: int) -> Iterator[Batch]:
        for batch in super().stream(epoch, position, epochs):
            counts = (batch["index"] % 4).tolist()
            images = [image[:, : self.sizes[i % len(self.sizes)]] for i, image in enumerate(batch["image"])]
            yield {
                "image": torch.stack(images) if len(self.sizes) == 1 else images,
                "boxes": [torch.full((n, 4), 0.5) for n in counts],
                "labels": [torch.arange(n) % 3 for n in counts],
                "index": batch["index"],
            }


class Counting(Task):
    """Learns the number of boxes of each image."""

    needs = ("image", "boxes", "labels")
    best = "error"

    def forward(self, model: nn.Module, inputs: Batch) -> Tensor:
        image = inputs["image"]
        return model(image) if isinstance(image, Tensor) else torch.cat([model(one[None]) for one in image])

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        counts = torch.tensor([float(len(boxes)) for boxes in batch["boxes"]])
        return {"count": Term(((output[:, 0] - counts) ** 2).sum(), torch.tensor(float(len(counts))))}

    def decode(self, output: Tensor, inputs: Batch) -> Prediction:
        return {"count": output[:, 0]}

    def metric(self) -> "Seen":
        return Seen()


class Seen:
    def __init__(self) -> None:
        self.boxes = 0

    def update(self, prediction: Prediction, batch: Batch) -> None:
        assert len(prediction["count"]) == len(batch["boxes"])
        self.boxes += sum(map(len, batch["boxes"]))

    def compute(self) -> dict:
        return {"boxes": self.boxes}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))


def prepare(batch: Batch) -> Batch:
    image = batch["image"]
    ready = [one.float() / 255 for one in image] if isinstance(image, list) else image.float() / 255
    return {key: to_device(value, CPU, key=key) for key, value in batch.items()} | {"image": ready}


def job_of(loader: Boxes, **settings):
    job = make_job(model=network(), task=Counting(), loader=loader, num_classes=3, lr=0.01, **settings)
    job.prepare = prepare
    return job


def first(loader: Loader) -> Batch:
    return next(loader.stream(0, 0, 1))


@pytest.mark.parametrize("sizes", [(6,), (6, 5)])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_run_on_lists_goes_through_preflight_training_and_evaluation(sizes, memory_format):
    job = job_of(Boxes(sizes=sizes), memory_format=memory_format)
    assert dry_run(job, first(job.loader), smallest=2) == []
    before = weights(job)
    counters = fit(job)
    assert counters.images == 44
    assert not same_bits(weights(job), before)
    found = evaluate(job.model, job.task, Boxes(sizes=sizes), prepare=prepare)
    assert found["images"] == 22
    assert found["boxes"] == sum(i % 4 for i in range(22))


def test_accumulated_lists_give_the_step_of_one_batch():
    whole, parts = job_of(Boxes(batch=22)), job_of(Boxes(batch=6), accumulate=4)
    fit(whole)
    fit(parts)
    assert parts.counters.step == whole.counters.step == 2
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value)


def test_labels_out_of_range_are_found_before_training_and_in_it():
    class Wrong(Boxes):
        def stream(self, epoch, position, epochs):
            for batch in super().stream(epoch, position, epochs):
                yield {
                    **batch,
                    "labels": [
                        labels + 3 * (i == 7) for i, labels in zip(batch["index"], batch["labels"], strict=True)
                    ],
                }

    job = job_of(Wrong(batch=22))
    with pytest.raises(DataError, match=r"^image_7\.png: labels \[3, 4, 5\], allowed are 0 to 2"):
        dry_run(job, first(job.loader), smallest=22)
    with pytest.raises(DataError, match=r"^image_7\.png: labels \[3, 4, 5\], allowed are 0 to 2"):
        fit(job)


def test_image_that_is_not_finite_is_named_alone_among_several_sizes():
    job = job_of(Boxes(sizes=(6, 5)))

    def spoiled(batch: Batch) -> Batch:
        ready = prepare(batch)
        for image, index in zip(ready["image"], batch["index"].tolist(), strict=True):
            if index == 5:
                image[0, 0, 0] = float("inf")
        return ready

    job.prepare = spoiled
    with pytest.raises(DataError, match=r"not finite: image_5\.png \(step"):
        fit(job)


def test_loss_that_is_not_finite_on_sound_lists_has_diverged():
    job = job_of(Boxes(sizes=(6, 5)))
    job.task.loss = lambda output, batch: {"count": Term(output.sum() * float("nan"), torch.tensor(1.0))}
    with pytest.raises(Diverged, match=r"count nan\), on image_\d+\.png"):
        fit(job)


def test_images_of_several_sizes_that_a_network_cannot_take_are_told_with_their_shapes():
    job = job_of(Boxes(sizes=(6, 5)))
    job.model = nn.Conv2d(3, 4, 1)
    with pytest.raises(
        RecipeError, match=r"a batch of 4 images, \[\(1, 5, 6\), \(1, 6, 6\)\] \(C, H, W\): .*3 channels"
    ):
        dry_run(job, first(job.loader), smallest=2)


def test_lists_are_counted_and_laid_out_as_they_are():
    batch = {"image": [torch.zeros(1, 2, 3), torch.zeros(1, 4, 4)], "index": torch.tensor([0, 1])}
    assert count_images(batch) == 2
    assert lay_out(batch, "channels_last") is batch


def test_to_device_carries_lists_of_any_depth_and_refuses_the_rest_by_key():
    moved = to_device([[torch.ones(2)], []], torch.device("meta"), key="polygons")
    assert moved[0][0].device.type == "meta"
    assert moved[1] == []
    for value in ("a cat", ["a cat"], [torch.ones(1), None], (torch.ones(1),), 3):
        with pytest.raises(
            TypeError, match=r"captions of a batch is or holds a (str|NoneType|tuple|int); a value must be"
        ):
            to_device(value, CPU, key="captions")


def key_of(**batch) -> str:
    image = torch.zeros(2, 1, 6, 6)
    return remembered_speed.key_of(network(), Counting(), {"image": image, **batch}, names=["float32 contiguous"])


def test_measured_speed_is_remembered_whatever_the_number_of_boxes():
    few = {"boxes": [torch.zeros(1, 4), torch.zeros(0, 4)], "labels": [torch.zeros(1), torch.zeros(0)]}
    many = {"boxes": [torch.zeros(9, 4), torch.zeros(9, 4)], "labels": [torch.zeros(9), torch.zeros(9)]}
    assert key_of(**few) == key_of(**many)


def test_measured_speed_tells_lists_apart_from_none_and_by_what_they_hold():
    window = [torch.zeros(3, 6, 6), torch.zeros(1, 6, 6)]
    keys = [
        key_of(),
        key_of(boxes=[torch.zeros(1, 4), torch.zeros(2, 4)]),
        key_of(boxes=[torch.zeros(1, 5), torch.zeros(2, 5)]),
        key_of(boxes=torch.zeros(2, 4)),
        key_of(masks=window),
        key_of(masks=[mask[:, :4] for mask in window]),
        key_of(image=[torch.zeros(1, 6, 6), torch.zeros(1, 5, 6)]),
        key_of(image=[torch.zeros(1, 6, 6)] * 2),
        key_of(image=[torch.zeros(1, 6, 6)] * 3),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(label=[torch.tensor(1), torch.tensor(2)]) == key_of(label=[torch.tensor(0), torch.tensor(0)])


def test_measured_speed_has_a_form_for_lists_of_lists_and_of_several_numbers_of_axes():
    nested, uneven = [[torch.zeros(2)], []], [torch.zeros(2), torch.zeros(2, 3)]
    assert remembered_speed._form(nested) != remembered_speed._form(uneven)
    assert remembered_speed._form(nested) == remembered_speed._form([[torch.zeros(5)], [torch.zeros(1)]])
