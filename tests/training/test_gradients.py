import pytest
import torch
from torch import Tensor, nn

from tests.training.toy_run import Task
from unpool.training.gradients import compute_gradients
from unpool.training.optim import build_optimizer
from unpool.training.step import Step
from unpool.types import Term

CPU = torch.device("cpu")
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


class TwoTerms(Task):
    """Two terms with different weights and counts, as a detector has."""

    def loss(self, output, batch):
        return {
            "near": Term((output[:, 0] * batch["share"]).sum(), batch["share"].sum(), 2.0),
            "far": Term(output[:, 1].square().sum(), torch.tensor(float(len(output))), 0.5),
        }


def setting() -> tuple[Step, dict[str, Tensor]]:
    torch.manual_seed(3)
    model = nn.Linear(4, 2).double()
    batch = {"image": torch.randn(6, 4).double(), "share": torch.tensor([1.0, 0, 2, 0, 0, 3]).double()}
    return Step(model, TwoTerms(), precision="float32", device=CPU).double(), batch


def taken(step: Step, batches) -> tuple[float, list[Tensor]]:
    step.zero_grad()
    found = compute_gradients(step, batches, NO_SCALER)
    return float(found.loss), [weight.grad.clone() for weight in step.model.parameters()]


@pytest.fixture(autouse=True)
def _double(monkeypatch):
    monkeypatch.setattr("unpool.tasks.one_forward.to_float32", lambda output: output)


@pytest.mark.parametrize("cuts", [[3, 3], [1, 5], [2, 2, 2], [4, 1, 1]])
def test_accumulated_batches_give_the_gradient_of_one_large_batch(cuts):
    step, batch = setting()
    loss, expected = taken(step, [batch])
    parts = {key: value.split(cuts) for key, value in batch.items()}
    batches = [{key: parts[key][i] for key in parts} for i in range(len(cuts))]
    accumulated, found = taken(step, batches)
    assert accumulated == pytest.approx(loss, rel=1e-6)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_step_after_accumulated_batches_is_the_same_in_either_memory_format():
    step, batch = setting()
    step.model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten()).double().to(memory_format=torch.channels_last)
    step.weights[:] = step.model.parameters()
    batch["image"] = torch.randn(6, 2, 3, 3).double()
    _, gradients = taken(step, [batch])
    expected = [weight.detach() - 0.1 * gradient for weight, gradient in zip(step.weights, gradients, strict=True)]
    taken(step, [{key: value[part::2] for key, value in batch.items()} for part in range(2)])
    build_optimizer(step.model, name="sgd", lr=0.1).step()
    torch.testing.assert_close([weight.detach() for weight in step.weights], expected, rtol=1e-6, atol=1e-8)


def test_loss_is_the_weighted_sum_of_terms_over_their_counts():
    step, batch = setting()
    output = step.model(batch["image"]).detach()
    near = (output[:, 0] * batch["share"]).sum() / 6
    far = output[:, 1].square().mean()
    found = compute_gradients(step, [batch], NO_SCALER)
    assert float(found.loss) == pytest.approx(float(2 * near + 0.5 * far))
    assert float(found.terms["near"]) == pytest.approx(float(near))


@pytest.mark.parametrize("cuts", [[6], [3, 3]])
def test_term_that_counted_nothing_gives_zero_and_no_gradient(cuts):
    step, batch = setting()
    step.task.loss = lambda output, batch: {"near": Term(output.sum() * 0, torch.zeros(()).double())}
    loss, found = taken(step, [{"image": part} for part in batch["image"].split(cuts)])
    assert loss == 0
    assert all(bool((grad == 0).all()) for grad in found)


@pytest.mark.parametrize("cuts", [[6], [3, 3]])
def test_weight_that_no_term_depends_on_has_no_gradient(cuts):
    step, batch = setting()
    step.weights.append(nn.Parameter(torch.ones(2).double()))
    parts = {key: value.split(cuts) for key, value in batch.items()}
    compute_gradients(step, [{key: parts[key][i] for key in parts} for i in range(len(cuts))], NO_SCALER)
    assert step.weights[-1].grad is None
    assert all(weight.grad is not None for weight in step.weights[:-1])
