import pytest
import torch
from torch import nn

from tests.training.toy_run import Loader, Task, make_job, network, same_bits, weights
from unpool.errors import DataError, RecipeError
from unpool.layers.transfer import freeze
from unpool.ops.mixing import partners
from unpool.training.memory import _repeated, kept_bytes
from unpool.training.preflight import dry_run, head


def first(job):
    return next(job.loader.stream(0, 0, 1))


def pooled() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))


def pooled_head() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_last_batch_of_one_sample_and_one_pixel_names_the_batch_norm():
    job = make_job(loader=Loader(count=21))
    job.model = pooled()
    with pytest.raises(RecipeError, match=r"a batch of 1 sample gives batch norm at layer 2 one value a channel"):
        dry_run(job, first(job), smallest=1)


class Mixed(Task):
    """A loss of each image by its label and its partner's."""

    def loss(self, output, batch):
        other = {**batch, "label": batch["label"][batch["partner"]]}
        kept, rest = super().loss(output, batch)["entropy"], super().loss(output, other)["entropy"]
        share = batch["mix"].mean()
        return {"entropy": kept._replace(sum=share * kept.sum + (1 - share) * rest.sum)}


@pytest.mark.parametrize("size", [1, 5, 7])
def test_batch_of_mixed_images_is_cut_anywhere(size):
    job = make_job(task=Mixed(), loader=Loader(batch=8))
    batch = {**first(job), "partner": partners(8), "mix": torch.full((8,), 0.6)}
    cut = head(batch, size)
    assert cut["partner"].tolist() == partners(size).tolist()
    assert cut["mix"].tolist() == pytest.approx([0.6] * (size - 1) + [1.0])
    assert cut["image"].shape[0] == size
    dry_run(job, batch, smallest=size)
    kept_bytes(job, _repeated(batch, size))
    assert _repeated(head(batch, 3), 8)["partner"].tolist() == partners(8).tolist()


def test_last_batch_of_two_samples_and_one_pixel_is_right():
    job = make_job()
    job.model = pooled()
    assert dry_run(job, first(job), smallest=2) == []


def test_last_batch_of_one_sample_with_many_pixels_is_a_warning():
    job = make_job(loader=Loader(count=21))
    (warning,) = dry_run(job, first(job), smallest=1)
    assert "smallest batch of an epoch has 1 sample, so batch norm (1 and 0 more)" in warning


def test_frozen_batch_norm_is_no_trouble():
    class Frozen(nn.BatchNorm2d):
        def train(self, mode=True):  # noqa: FBT002
            return super().train(mode=False)

    job = make_job(loader=Loader(count=21))
    job.model = pooled()
    job.model[2] = Frozen(4)
    assert dry_run(job, first(job), smallest=1) == []


def test_batch_norm_that_follows_the_images_while_its_weights_are_fixed_is_a_warning():
    job = make_job()
    job.model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)), pooled_head())
    job.model[0].requires_grad_(requires_grad=False)
    (warning,) = dry_run(job, first(job), smallest=2)
    assert "batch norm 0.1 and 0 more are not trained, and it follows the training images" in warning
    assert warning.endswith("model.frozen=[0]")
    freeze(job.model, ["0"])
    assert dry_run(job, first(job), smallest=2) == []


def test_preflight_leaves_weights_statistics_modes_and_generators_alone():
    job = make_job()
    job.model.eval()
    before, state = weights(job), torch.get_rng_state()
    dry_run(job, first(job), smallest=2)
    assert same_bits(weights(job), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not job.model[1].training
    assert not job.model[1]._forward_pre_hooks


def test_network_that_cannot_take_the_batch_is_told_with_its_shape():
    job = make_job()
    job.model = nn.Sequential(nn.Conv2d(3, 8, 3))
    with pytest.raises(RecipeError, match=r"cannot take a batch of \(4, 1, 6, 6\) \(B, C, H, W\): .*3 channels"):
        dry_run(job, first(job), smallest=2)


def test_users_faults_pass_through():
    class Refusing(Task):
        def loss(self, output, batch):
            raise DataError("mine")

    job = make_job(task=Refusing())
    with pytest.raises(DataError, match="mine"):
        dry_run(job, first(job), smallest=2)


def test_target_out_of_range_is_found():
    job = make_job(num_classes=3)
    batch = {**first(job), "label": torch.full((4,), 8)}
    with pytest.raises(DataError, match=r"label \[8\]"):
        dry_run(job, batch, smallest=2)


class OfTwo(nn.Module):
    def forward(self, image, label):
        return image


class OfDict(nn.Module):
    def forward(self, image):
        return {"scores": image}


@pytest.mark.parametrize(("model", "said"), [(OfTwo(), "TypeError: .*'label'"), (OfDict(), "AttributeError: 'dict'")])
@pytest.mark.parametrize("run", [lambda job, batch: dry_run(job, batch, smallest=2), kept_bytes])
def test_any_error_of_a_networks_code_says_on_which_batch(model, said, run):
    job = make_job()
    job.model = model
    with pytest.raises(RecipeError, match=rf"cannot take a batch of \(4, 1, 6, 6\) \(B, C, H, W\): {said}"):
        run(job, first(job))


class CrossEntropy(Task):
    def loss(self, output, batch):
        return {"cross_entropy": super().loss(output, batch)["entropy"]}


@pytest.mark.parametrize(
    ("last", "is_doubtful"),
    [
        (nn.Softmax(1), True),
        (nn.Sequential(nn.Identity(), nn.Sigmoid()), True),
        (nn.ReLU(), False),
        (nn.LogSoftmax(1), False),
    ],
)
def test_a_network_that_gives_shares_in_place_of_logits_is_warned_of(last, is_doubtful):
    job = make_job(task=CrossEntropy())
    job.model = nn.Sequential(job.model, last)
    warnings = dry_run(job, first(job), smallest=2)
    assert [("softmax or sigmoid" in warning) for warning in warnings] == [True] * is_doubtful
    job.task = Task()  # its loss may well take shares
    assert dry_run(job, first(job), smallest=2) == []


def test_shares_are_known_by_their_sums_where_no_module_makes_them():
    class Shares(nn.Sequential):
        def forward(self, image):
            return super().forward(image).softmax(1)

    job = make_job(task=CrossEntropy(), model=Shares(*network()))
    assert len(dry_run(job, first(job), smallest=2)) == 1
