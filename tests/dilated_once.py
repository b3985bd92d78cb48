"""Backbones of one structure are dilated once: the next one gets a copy with its own weights."""

import copy

import pytest

from unpool.models import dense

PLAIN = (bool, int, float, str, tuple, type(None))
DILATED = {}


@pytest.fixture(autouse=True)
def dilated_once(monkeypatch):
    """What `dilate_known` gives is decided by the structure of a network, which takes a second to follow."""
    dilate = dense.dilate_known

    def dilate_known(network, *, output_stride, image):
        key = (structure(network), output_stride, image.shape)
        if key not in DILATED:
            DILATED[key] = dilate(network, output_stride=output_stride, image=image).to("meta")
        result = copy.deepcopy(DILATED[key]).to_empty(device="cpu")
        result.load_state_dict(network.state_dict())
        assert {name for name, _ in result.named_buffers()} <= network.state_dict().keys()  # no other has a value now
        return result

    monkeypatch.setattr(dense, "dilate_known", dilate_known)


def structure(network):
    """Types, plain attributes and shapes of all modules of a network, as text."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    modules = [
        (name, type(one), {key: value for key, value in vars(one).items() if isinstance(value, PLAIN)})
        for name, one in network.named_modules()
    ]
    return repr((shapes, modules))
