"""Bottlenecks, and the linear one against principal components."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models import MODELS


def test_counts_by_hand():
    linear = 784 * 32 + 32 * 784
    dense = (784 * 500 + 500) + (500 * 784 + 784)
    down = (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128)
    up = (9 * 16 * 128 + 128) + (9 * 128 * 64 + 64) + (9 * 64 * 32 + 32)
    conv = down + (128 * 16 + 16) + up + (9 * 32 * 1 + 1)
    counts = [MODELS[name].params for name in ("linear_autoencoder", "denoising_autoencoder", "conv_autoencoder")]
    assert counts == [linear, dense, conv]


def test_multiply_adds_of_the_convolutional_one_by_hand():
    down = 9 * 1 * 32 * 20**2 + 9 * 32 * 64 * 10**2 + 9 * 64 * 128 * 5**2
    up = 9 * 16 * 128 * 10**2 + 9 * 128 * 64 * 20**2 + 9 * 64 * 32 * 40**2
    assert MODELS["conv_autoencoder"].gmacs * 1e9 == pytest.approx(down + 128 * 16 * 5**2 + up + 9 * 32 * 40**2)


def gaussian(samples=200, seed=0):
    """(samples, 1, 3, 4) centred, with variances that fall by a half from one direction to the next."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    scales = 0.5 ** (torch.arange(12, dtype=torch.float64) / 2)
    x = torch.randn(samples, 12, generator=generator, dtype=torch.float64) * scales @ axes.T
    return (x - x.mean(0)).view(samples, 1, 3, 4)


def test_best_linear_autoencoder_spans_the_first_principal_components():
    """Baldi & Hornik 1989: trained to the end, what the decoder can say is PCA's subspace, and the error PCA's rest."""
    torch.manual_seed(0)
    model, images = models.build("linear_autoencoder", width=3, size_hw=(3, 4)).double(), gaussian()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=300, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def error():
        optimizer.zero_grad()
        loss = (model(images) - images).square().sum(dim=(1, 2, 3)).mean()
        loss.backward()
        return loss

    optimizer.step(error)
    _, singular, components = torch.linalg.svd(images.flatten(1), full_matrices=False)
    ours = torch.linalg.qr(model.decoder.weight.detach())[0]
    sines = torch.linalg.svdvals(ours - components[:3].T @ (components[:3] @ ours))  # of the principal angles
    assert float(sines.max()) < 1e-3
    assert error().item() == pytest.approx(float(singular[3:].square().sum() / len(images)), rel=1e-6)


def test_linear_autoencoder_is_linear():
    torch.manual_seed(0)
    model = models.build("linear_autoencoder").double()
    x, y = torch.rand(2, 1, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(model(2 * x - 3 * y), 2 * model(x) - 3 * model(y))
    assert not model(torch.zeros(1, 1, 28, 28, dtype=torch.float64)).any()


def test_denoising_autoencoder_has_sigmoids_on_both_sides():
    torch.manual_seed(0)
    model, image = models.build("denoising_autoencoder", width=5), torch.rand(2, 1, 28, 28)
    code = torch.sigmoid(nn.functional.linear(image.flatten(1), model.encoder.weight, model.encoder.bias))
    answer = torch.sigmoid(nn.functional.linear(code, model.decoder.weight, model.decoder.bias))
    torch.testing.assert_close(model(image), answer.view(2, 1, 28, 28))


def test_code_is_all_that_the_convolutional_decoder_knows():
    torch.manual_seed(0)
    model, codes = models.build("conv_autoencoder", width=4), []
    model.bottleneck.register_forward_hook(lambda _, inputs, output: codes.append(output) or codes[0])
    first, second = torch.rand(2, 1, 1, 40, 40)
    assert torch.equal(model(first), model(second))
    assert not torch.equal(codes[0], codes[1])
    assert codes[0].shape == (1, 16, 5, 5)


def test_code_is_narrower_than_the_image_where_it_is_published():
    channels, height, width = MODELS["conv_autoencoder"].input
    code = models.build("conv_autoencoder", width=4).bottleneck.out_channels * -(-height // 8) * -(-width // 8)
    assert code < channels * height * width


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 47), (40, 41)])
def test_convolutional_autoencoder_gives_back_every_size(size_hw):
    assert models.build("conv_autoencoder", width=4)(torch.rand(1, 1, *size_hw)).shape == (1, 1, *size_hw)


def test_convolutional_decoder_goes_from_coarse_to_fine():
    model, sizes = models.build("conv_autoencoder", width=4), []
    for stage in model.decoder:
        stage.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape[2:]))
    model(torch.rand(1, 1, 33, 47))
    assert sizes == [(9, 12), (17, 24), (33, 47)]


@pytest.mark.parametrize("name", ["linear_autoencoder", "denoising_autoencoder", "conv_autoencoder"])
def test_answer_may_have_other_channels_than_the_image(name):
    model = models.build(name, width=4, in_channels=2, num_classes=3)
    assert model(torch.rand(1, 2, 28, 28)).shape == (1, 3, 28, 28)


@pytest.mark.parametrize("given", [[28], [28, 28, 1]])
def test_one_size_is_two_numbers(given):
    with pytest.raises(RecipeError, match="give two numbers, the height and width"):
        models.build("linear_autoencoder", size_hw=given)
