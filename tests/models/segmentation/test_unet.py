"""Translation, mirroring, legal sizes."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.models.segmentation.unet import conv_norm_twice, conv_twice


def network(name, **options):
    torch.manual_seed(0)
    return models.build(name, width=4, **options).double().eval()


def rand(height, width):
    return torch.rand(1, 1, height, width, dtype=torch.float64)


def test_valid_network_moved_by_sixteen_pixels_gives_its_answer_moved():
    model, image = network("unet_valid"), rand(252, 236)
    with torch.no_grad():
        whole, part = model(image), model(image[..., 16:, 32:])
    torch.testing.assert_close(part, whole[..., 16:, 32:], rtol=0, atol=1e-10)


def test_mirrored_network_is_the_valid_one_on_a_reflected_image():
    mirrored, image = network("unet_mirror"), rand(100, 116)
    with torch.no_grad():
        expected = mirrored.valid(nn.functional.pad(image, (92, 92, 92, 92), mode="reflect"))
        torch.testing.assert_close(mirrored(image), expected, rtol=0, atol=1e-10)


def test_tiles_of_a_mirrored_image_join_to_the_answer_on_the_whole():
    """The paper's overlap-tile strategy: each tile of 132x132 answers comes from 316x316 pixels around it."""
    mirrored, image = network("unet_mirror"), rand(164, 164)
    padded = nn.functional.pad(image, (92, 92, 92, 92), mode="reflect")
    joined = torch.empty(1, 2, 164, 164, dtype=torch.float64)
    with torch.no_grad():
        for top in (0, 32):
            for left in (0, 32):
                tile = mirrored.valid(padded[..., top : top + 316, left : left + 316])
                joined[..., top : top + 132, left : left + 132] = tile
        torch.testing.assert_close(joined, mirrored(image), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("size", "legal"), [(1, 188), (188, 188), (189, 204), (572, 572), (573, 588)])
def test_legal_sizes_are_the_papers(size, legal):
    assert network("unet_valid").legal(size) == legal


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_smallest_legal_size_works_and_the_one_below_does_not(depth):
    model = network("unet_valid", depth=depth)
    least = model.legal(1)
    with torch.no_grad():
        assert model(rand(least, least)).shape[-1] == least - model.shrinkage > 0
        with pytest.raises(ValueError, match="nearest are"):
            model(rand(least - model.stride, least))


def test_illegal_size_names_its_neighbours():
    with pytest.raises(ValueError, match=r"\(580, 572\).*16 \* b \+ 60.*572 or 588 high, 572 wide.*unet_mirror"):
        network("unet_valid")(rand(580, 572))


def test_skip_is_cut_in_the_middle_and_stands_before_the_coarser_path():
    """Only the first half of the last joining convolution reads the skip: zeroed, the skip has no say."""
    model = network("unet_same")
    image = rand(32, 32)
    model.join[-1][0].weight.data[:, 4:] = 0
    with torch.no_grad():
        before = model(image)
        model.up[-1].weight.zero_()
        assert torch.equal(model(image), before)


@pytest.mark.parametrize("name", ["unet_same", "unet_same_bn"])
def test_padded_network_at_multiples_of_sixteen_needs_no_rounding(name):
    """Pooling that rounds down gives the same answer there."""
    model, image = network(name), rand(48, 64)
    with torch.no_grad():
        rounded_up = model(image)
        model.pool = nn.MaxPool2d(2)
        assert torch.equal(model(image), rounded_up)


def test_dropout_acts_only_at_the_two_coarsest_places_while_training():
    model = network("unet_same", dropout=1.0).train()
    seen = []
    for join in model.join:
        join.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].abs().amax(dim=(0, 2, 3)) > 0))
    model.up[0].bias.data.zero_()
    model(rand(32, 32))
    assert not seen[0].any()
    assert all(kept.any() for kept in seen[1:])


def test_batch_norm_replaces_the_biases():
    assert [p.shape for p in conv_norm_twice(2, 3)[0].parameters()] == [(3, 2, 3, 3), (3,), (3,)]
    assert [p.shape for p in conv_twice(2, 3, padding=1)[0].parameters()] == [(3, 2, 3, 3), (3,)]


@pytest.mark.parametrize("name", ["unet_valid", "unet_mirror"])
def test_half_of_the_values_is_dropped_unless_another_share_is_set(name):
    """The paper names no share; half is the default of Caffe, in which it was made."""
    for share, options in ((0.5, {}), (0.2, {"dropout": 0.2})):
        drops = [m.p for m in models.build(name, width=4, **options).modules() if isinstance(m, torch.nn.Dropout)]
        assert drops
        assert set(drops) == {share}
