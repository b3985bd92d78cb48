import signal

import pytest
import torch

from tests.training.toy_run import CLASSES, SAMPLES, Broken, Loader, Task, make_job, prepare, same_bits, weights
from unpool.errors import DataError, Diverged, EnvironmentFault
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.loop import _scale_can_fall, fit, step_seed
from unpool.training.state import final_state

SETTINGS = {
    "plain": {},
    "bf16": {"precision": "bfloat16"},
    "averaged": {"ema": 0.9},
    "accumulated, channels-last": {"accumulate": 4, "memory_format": "channels_last"},
    "adamw, clipped": {"optimizer": "adamw", "lr": 0.01, "clip_norm": 0.5},
}


class Records(Callback):
    def __init__(self) -> None:
        self.records = []

    def after_step(self, job, record):
        self.records.append(record)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_same_seed_gives_the_same_bits(settings):
    first, second = make_job(**settings), make_job(**settings)
    fit(first)
    torch.manual_seed(1234)
    fit(second)
    assert same_bits(final_state(first), final_state(second))


def test_another_seed_gives_other_bits():
    first, second = make_job(), make_job(seed=1)
    fit(first)
    fit(second)
    assert not same_bits(weights(first), weights(second))


def test_evaluating_in_between_changes_no_bit_of_the_training():
    first, second = make_job(), make_job()
    fit(first)
    fit(second, [Evaluate(Loader(shuffle=False))])
    assert same_bits(weights(first), weights(second))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_training_lowers_the_loss(settings):
    job, records = make_job(epochs=12, **settings), Records()
    fit(job, [records])
    losses = [record.loss for record in records.records]
    steps = job.steps_per_epoch
    assert sum(losses[-steps:]) < 0.8 * sum(losses[:steps])


def test_step_is_the_gradient_step_of_plain_torch():
    job = make_job(epochs=1)
    job.loader = Loader(batch=SAMPLES)
    reference = make_job(epochs=1)
    optimizer = torch.optim.SGD(reference.model.parameters(), lr=job.schedule(0))
    for group in job.optimizer.param_groups:
        group["weight_decay"] = 0.0
    batch = prepare(next(Loader(batch=SAMPLES).stream(0, 0, 1)))
    torch.manual_seed(step_seed(0, 0))
    torch.nn.functional.cross_entropy(reference.model(batch["image"]), batch["label"]).backward()
    optimizer.step()
    fit(job)
    for name, value in weights(reference).items():
        torch.testing.assert_close(weights(job)[name], value)


def test_two_steps_are_the_gradient_steps_of_plain_torch():
    job, reference = make_job(epochs=2), make_job(epochs=2)
    job.loader = Loader(batch=SAMPLES)
    optimizer = torch.optim.SGD(reference.model.parameters(), momentum=0.9)
    for group in job.optimizer.param_groups:
        group["weight_decay"] = 0.0
    for step, batch in enumerate(Loader(batch=SAMPLES).stream(0, 0, 2)):
        optimizer.param_groups[0]["lr"] = job.schedule(step)
        torch.manual_seed(step_seed(0, step))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(reference.model(prepare(batch)["image"]), batch["label"]).backward()
        optimizer.step()
    fit(job)
    for name, value in weights(reference).items():
        torch.testing.assert_close(weights(job)[name], value)


def test_training_is_done_in_training_mode():
    job = make_job(epochs=1)
    job.model.eval()
    fit(job)
    assert int(job.model[1].num_batches_tracked) == 6


def test_every_step_draws_other_random_numbers():
    drawn = []

    class Drawing(Task):
        def forward(self, model, batch):
            drawn.append(float(torch.rand(())))
            return super().forward(model, batch)

    fit(make_job(task=Drawing()))
    assert len(set(drawn)) == 12


@pytest.mark.parametrize("accumulate", [1, 3, 4, 10])
def test_steps_of_a_run_are_those_taken(accumulate):
    job = make_job(accumulate=accumulate)
    assert fit(job).step == job.total_steps


def test_weights_and_images_take_the_memory_format_asked_for():
    strides = []

    class Looking(Task):
        def forward(self, model, batch):
            strides.append(batch["image"].stride())
            return super().forward(model, batch)

    loader = Loader()
    loader.image = loader.image.repeat(1, 3, 1, 1)
    for layout in ("contiguous", "channels_last"):
        model = torch.nn.Sequential(torch.nn.Conv2d(3, CLASSES, 6), torch.nn.Flatten())
        job = make_job(epochs=1, loader=loader, task=Looking(), memory_format=layout, model=model)
        fit(job)
        strides.append(job.model[0].weight.stride())
    assert strides == [(108, 36, 6, 1)] * 7 + [(108, 1, 18, 3)] * 7


def test_every_batch_of_every_epoch_is_used_once():
    loader = Loader()
    job = make_job(epochs=3, loader=loader)
    fit(job)
    assert loader.served == [(epoch, place) for epoch in range(3) for place in range(6)]
    assert (job.counters.epoch, job.counters.position, job.counters.step) == (3, 0, 18)
    assert job.counters.images == 3 * SAMPLES
    assert loader.closed


def test_last_step_of_an_epoch_takes_the_batches_that_are_left():
    records = Records()
    fit(make_job(epochs=2, accumulate=4), [records])
    assert [record.images for record in records.records] == [16, 6, 16, 6]


def test_learning_rate_is_the_schedule_of_the_step():
    job, records = make_job(), Records()
    fit(job, [records])
    assert [record.lr for record in records.records] == [job.schedule(step) for step in range(12)]


def test_gradient_is_clipped_to_its_longest_length():
    job, records = make_job(epochs=1, clip_norm=1e-3, lr=1.0), Records()
    job.schedule = lambda step: 1.0
    for group in job.optimizer.param_groups:
        group.update(weight_decay=0.0, momentum=0.0)
    before = weights(job)
    job.loader = Loader(batch=SAMPLES)
    fit(job, [records])
    moved = torch.cat([(weights(job)[name] - before[name]).flatten() for name, _ in job.model.named_parameters()])
    assert records.records[0].gradient_norm > 1e-2
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)


def test_loss_that_is_not_finite_names_step_term_and_files_and_moves_no_weight():
    job, records = make_job(task=Broken(3)), Records()
    with pytest.raises(Diverged, match=r"step 3, epoch 0 \(entropy nan\), on image_\d+\.png, .*lower train.lr"):
        fit(job, [records])
    assert len(records.records) == 2
    assert all(bool(value.isfinite().all()) for _, value in job.model.named_parameters())
    assert job.loader.closed


def test_image_that_is_not_finite_is_named_alone():
    job = make_job()

    def spoiled(batch):
        image = prepare(batch)["image"]
        image[batch["index"] == 5] = float("nan")
        return {**batch, "image": image}

    job.prepare = spoiled
    with pytest.raises(DataError, match=r"not finite: image_5\.png \(step"):
        fit(job)


def infinite_gradients(job, steps: set[int]) -> None:
    weight = next(job.model.parameters())
    weight.register_hook(lambda grad: grad * float("inf") if job.counters.step + 1 in steps else grad)


def test_step_with_an_infinite_gradient_is_left_out_and_counted():
    job, records = make_job(), Records()
    infinite_gradients(job, {2, 3, 4, 6})
    fit(job, [records])
    assert [record.step for record in records.records if not record.taken] == [2, 3, 4, 6]
    assert job.counters.skipped == 4
    assert all(bool(value.isfinite().all()) for value in weights(job).values())


def test_four_infinite_gradients_in_a_row_stop_the_run():
    job = make_job()
    infinite_gradients(job, {2, 3, 4, 5})
    with pytest.raises(Diverged, match="4 steps in a row, the last being step 5"):
        fit(job)


def test_exploding_learning_rate_stops_as_diverged():
    job = make_job(epochs=40)
    job.schedule = lambda step: 1e12
    with pytest.raises(Diverged, match="not finite"):
        fit(job)


def test_label_out_of_range_is_refused_before_the_loss():
    job = make_job(num_classes=CLASSES)
    job.loader.label[4] = CLASSES
    with pytest.raises(DataError, match=rf"image_4\.png: label \[{CLASSES}\]"):
        fit(job)


def test_epoch_without_a_batch_is_refused():
    job = make_job()
    job.loader = Loader(count=0)
    with pytest.raises(DataError, match=r"smaller than one batch; lower train\.batch"):
        fit(job)


def test_loader_that_ends_early_is_told():
    job = make_job()
    job.loader.stream = lambda epoch, position, epochs: iter([])
    with pytest.raises(EnvironmentFault, match="ended early: 0 batches"):
        fit(job)


def test_callbacks_of_a_higher_rank_come_later():
    called = []

    class Late(Callback):
        rank = 5

        def after_step(self, job, record):
            called.append("late")

    class Early(Callback):
        def after_step(self, job, record):
            called.append("early")

    fit(make_job(epochs=1), [Late(), Early()])
    assert called[:2] == ["early", "late"]


def test_every_step_seed_is_its_own():
    seeds = {step_seed(seed, step) for seed in range(20) for step in range(500)}
    assert len(seeds) == 20 * 500
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_step_seed_is_splitmix64_of_a_state_that_the_step_moves():
    """The states lie a golden ratio apart; the numbers are the first five of the seed 1234567 (Rosetta Code)."""
    golden = 0x9E3779B97F4A7C15
    apart = pow(0xD1342543DE82EF95, -1, 1 << 64)  # a multiplier of Steele and Vigna 2021, arXiv:2001.05304
    numbers = (6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821)
    for i, number in enumerate(numbers, start=1):
        step = (1234567 + i * golden) * apart - 1
        assert step_seed(0, step) == number >> 1
        assert step_seed(3, step - 3 * golden) == number >> 1, "a seed is that many golden ratios ahead"


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    fit(make_job(epochs=1))
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("scale", "can_fall"), [(2.0**16, True), (2.0, True), (1.0, False)])
def test_scale_of_float16_falls_down_to_one(scale, can_fall):
    assert _scale_can_fall(torch.amp.GradScaler("cpu", init_scale=scale)) == can_fall
    assert not _scale_can_fall(torch.amp.GradScaler("cpu", init_scale=scale, enabled=False))
