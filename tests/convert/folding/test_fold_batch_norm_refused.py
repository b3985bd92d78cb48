"""What is refused, with what to do, and that nothing else is left behind."""

import copy
import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tests.convert.folding.folded import Pair, compiled, drawn, image, sequential
from unpool.convert import dilate, fold_batch_norm, fully_convolutional
from unpool.errors import NotConvertible


def plain(m, x):
    return m.norm(m.conv(x))


def test_compiled_code_that_reads_a_convolution_is_found_by_comparison():
    def wire(m, x):
        y = m.conv(x)
        return compiled(m.norm(y), y)

    torch.manual_seed(0)
    with pytest.raises(NotConvertible, match=r"Pair cannot be folded: its output differs by .* code that was compiled"):
        fold_batch_norm(drawn(Pair(wire)))


def test_network_that_takes_none_of_the_images_is_refused_with_what_to_do():
    with pytest.raises(NotConvertible, match=r"does not take an image of 64x96, .*: give one that it takes as image="):
        fold_batch_norm(sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)))


def test_network_without_a_tensor_in_its_answer_is_refused():
    with pytest.raises(NotConvertible, match="Pair gives no tensor"):
        fold_batch_norm(Pair(lambda m, x: m.conv(x).shape))


class Box:
    """Holds a map where nobody looks."""

    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize("wrap", [Box, lambda y: {"kept": [None, "a", 1, Box(y)]}, lambda y: {y}])
def test_answer_that_cannot_be_looked_into_is_refused_by_its_type(wrap):
    def wire(m, x):
        y = m.conv(x)
        return m.norm(y), wrap(y)

    with pytest.raises(NotConvertible, match=r"the output of Pair holds a (Box|set), which cannot be compared: make"):
        fold_batch_norm(Pair(wire))


@pytest.mark.parametrize("convert", [fold_batch_norm, partial(dilate, output_stride=8), fully_convolutional])
def test_pruned_network_is_refused_with_what_to_do(convert):
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    prune.l1_unstructured(network[0], "bias", 2)
    with pytest.raises(
        NotConvertible, match=r"Sequential cannot be copied \(.*\): .* by torch\.nn\.utils\.prune\.remove"
    ):
        convert(network, image=image(1, 3, 9, 9))
    prune.remove(network[0], "bias")
    assert len(fold_batch_norm(network).changes) == 1


def test_compiled_network_is_refused():
    with pytest.raises(NotConvertible, match=r"was compiled by torch\.jit: fold it before"):
        fold_batch_norm(torch.jit.trace(sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), image()))


@pytest.mark.parametrize("given", [torch.zeros(0, 3, 8, 8), torch.tensor(5.0), (image(),)])
def test_image_without_values_is_refused(given):
    with pytest.raises(NotConvertible, match="give one tensor with values in it"):
        fold_batch_norm(Pair(plain), image=given)


def test_image_of_one_axis_is_refused():
    with pytest.raises(NotConvertible, match="does not take an image of 5 "):
        fold_batch_norm(Pair(plain), image=image(5))


class OwnError(Exception):
    """Nobody knows it."""


def test_error_of_any_kind_on_a_size_is_a_size_that_is_not_taken():
    def wire(m, x):
        if x.shape[-1] != 224:
            raise OwnError("bad size")
        return m.norm(m.conv(x))

    assert len(fold_batch_norm(Pair(wire)).changes) == 1
    with pytest.raises(NotConvertible, match="bad size"):
        fold_batch_norm(Pair(wire), image=image())


class Uncopied(Pair):
    """Cannot be copied, and says so in a way of its own."""

    def __deepcopy__(self, memo):
        raise OwnError("one of a kind")


class Sharing(Pair):
    """Is its own copy."""

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize(("kind", "told"), [(Uncopied, "one of a kind"), (Sharing, "its copy shares modules with it")])
def test_network_that_cannot_be_copied_is_refused(kind, told):
    with pytest.raises(NotConvertible, match=f"cannot be copied.*{told}"):
        fold_batch_norm(kind(plain))


def test_code_that_cannot_be_followed_is_refused_with_its_error():
    class Inference(Pair):
        @torch.inference_mode()
        def forward(self, x):
            return self.norm(self.conv(x))

    with pytest.raises(NotConvertible, match="Inference cannot be folded: its code ends in RuntimeError: Inference"):
        fold_batch_norm(Inference(plain))


class NothingReturned(Pair):
    """Has an `eval` of the kind that many write."""

    def eval(self):
        super().eval()


def kept(value):
    def wire(m, x):
        m.kept = value(m)
        return m.norm(m.conv(x))

    return wire


@pytest.mark.parametrize(
    "network",
    [
        NothingReturned(plain),
        Pair(kept(lambda m: threading.Lock())),
        Pair(kept(lambda m: m.conv.weight * 2)),
    ],
)
def test_peculiar_networks_are_folded(network):
    assert len(fold_batch_norm(network).changes) == 1


def test_network_is_folded_in_inference_mode_and_can_train_afterwards():
    with torch.inference_mode():
        folded = fold_batch_norm(sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), image=image())
    folded.network(image()).sum().backward()
    assert folded.network[0].weight.grad is not None


def test_forward_that_was_replaced_by_a_function_is_refused_and_the_network_stays_as_it_was():
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    network.forward = lambda x: network[1](network[0](x))
    state = copy.deepcopy(network.state_dict())
    with pytest.raises(NotConvertible, match="keeps the weights of the original network; make it a method"):
        fold_batch_norm(network)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_forward_that_was_replaced_by_a_method_is_folded():
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network.forward = nn.Sequential.forward.__get__(network)
    assert len(fold_batch_norm(network).changes) == 1


def test_draws_on_a_gpu_that_is_not_in_use_are_not_seeded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeded"))
    fold_batch_norm(Pair(plain))
