"""A process's part of a batch drops what those rows drop in the whole batch."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.ranks import by_ranks
from unpool.errors import RecipeError
from unpool.ops.embedding_losses import contrastive, unit
from unpool.training.whole_batch import AsOne, noted_doubts
from unpool.types import Part

PARTS = [Part(0, 3, 7), Part(3, 2, 7), Part(5, 2, 7)]


def rows_of(values: Tensor, part: Part, *, each: int = 1) -> Tensor:
    return values[each * part.first : each * (part.first + part.count)]


@pytest.mark.parametrize(
    "layer",
    [
        *(nn.Dropout(0.4), nn.Dropout(0.4, inplace=True), nn.Dropout1d(0.4), nn.Dropout2d(0.4), nn.Dropout3d(0.4)),
        *(nn.AlphaDropout(0.4), nn.FeatureAlphaDropout(0.4)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_parts_drop_what_the_whole_batch_drops(layer, layout):
    dims = {nn.Dropout1d: (5, 4), nn.Dropout3d: (5, 2, 2, 2)}.get(type(layer), (5, 4, 3))
    values = torch.randn(7, *dims)
    values = values.contiguous(memory_format=layout) if values.dim() == 4 else values
    torch.manual_seed(3)
    whole = layer(values.clone())
    for part in PARTS:
        torch.manual_seed(3)
        with AsOne(part, norms=False):
            assert torch.equal(layer(rows_of(values, part).clone()), rows_of(whole, part))


def test_several_rows_of_a_sample_stay_together():
    values = torch.randn(14, 5)  # two windows of each of seven images
    torch.manual_seed(3)
    whole = functional.dropout(values, 0.4)
    for part in PARTS:
        torch.manual_seed(3)
        with AsOne(part, norms=False):
            assert torch.equal(functional.dropout(rows_of(values, part, each=2), 0.4), rows_of(whole, part, each=2))


def test_stochastic_depth_drops_the_samples_that_the_whole_batch_drops():
    torch.manual_seed(3)
    whole = torch.empty(7, 1, 1, 1).bernoulli_(0.5)
    for part in PARTS:
        torch.manual_seed(3)
        with AsOne(part, norms=False):
            assert torch.equal(torch.empty(part.count, 1, 1, 1).bernoulli_(0.5), rows_of(whole, part))


@pytest.mark.parametrize(("count", "total", "doubts"), [(1, 3, 1), (2, 3, 0), (1, 1, 0)])
def test_one_number_in_a_process_of_one_sample_is_a_doubt(count, total, doubts):
    with noted_doubts() as found, AsOne(Part(0, count, total), norms=False):
        torch.empty(count, 1, 1, 1).bernoulli_(0.5)
    assert len(found) == doubts


def test_weights_are_dropped_alike_in_all_processes():
    weight = nn.Parameter(torch.ones(6, 4))
    results = []
    for part in (Part(0, 3, 6), Part(3, 3, 6)):
        torch.manual_seed(3)
        with AsOne(part, norms=False):
            results.append(functional.dropout(weight, 0.5))
    assert torch.equal(*results)


def test_gradients_reach_the_rows_that_were_kept():
    values = torch.ones(2, 50, requires_grad=True)
    with AsOne(Part(3, 2, 7), norms=False):
        dropped = functional.dropout(values * 1, 0.5)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())


def test_evaluation_drops_nothing_and_takes_running_statistics():
    layer, values = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.5)).eval(), torch.randn(2, 5)
    with AsOne(Part(0, 2, 7), norms=True):
        assert torch.allclose(layer(values), values, atol=1e-4)


def test_one_value_a_channel_of_all_processes_is_refused():
    with AsOne(Part(0, 1, 1), norms=True), pytest.raises(RecipeError, match="one value a channel"):
        nn.BatchNorm2d(5)(torch.randn(1, 5, 1, 1))


PEOPLE = torch.tensor([0, 0, 1, 1, 2, 2])


def compared(rank: int) -> tuple[Tensor, ...]:
    """Loss sums and counts of a part, and the gradient of its rows, of a loss that compares rows with all others."""
    part = COMPARED[rank]
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    own = rows_of(rows, part) if part.count else rows[:1]
    own = own.clone().requires_grad_()
    people = rows_of(PEOPLE, part) if part.count else PEOPLE[:1]
    with AsOne(part, norms=False):
        terms = contrastive(unit(own), people, margin=1.0)
    scale = 1.0 if part.count else 0.0
    torch.stack([scale * term.sum for term in terms.values()]).sum().backward()
    sums = torch.stack([scale * term.sum.detach() for term in terms.values()])
    return sums, torch.stack([scale * term.count for term in terms.values()]), own.grad[: part.count]


COMPARED = [Part(0, 3, 6), Part(3, 3, 6), Part(6, 0, 6)]


def test_processes_compare_their_samples_with_those_of_all_as_one_process_does():
    rows = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = contrastive(unit(rows), PEOPLE, margin=1.0)
    torch.stack([term.sum for term in terms.values()]).sum().backward()
    parts = by_ranks(3, compared)
    sums, counts, gradients = zip(*parts, strict=True)
    torch.testing.assert_close(sum(sums), torch.stack([term.sum.detach() for term in terms.values()]))
    torch.testing.assert_close(sum(counts), torch.stack([term.count for term in terms.values()]))
    torch.testing.assert_close(torch.cat(gradients), rows.grad)
