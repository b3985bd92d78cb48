import pytest
import torch
from torch import nn

from unpool import models
from unpool.data.augment import Augment
from unpool.data.noise import AddNoise, Gaussian, Masking, NoNoise
from unpool.errors import RecipeError
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.tasks import build
from unpool.tasks.denoising import Denoising
from unpool.training.step import total_loss
from unpool.types import Auxiliary, DataInfo

GREY = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
SHIFTED = Preprocessing(channels=1, mean=(0.4,), std=(0.2,))


def made(noise, count=4, side=12, *, preprocessing=GREY):
    """A batch as the network meets it."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8, generator=generator)
    samples = [{"image": image, "index": torch.tensor(i)} for i, image in enumerate(images)]
    inner = Augment([], size_hw=None, preprocessing=preprocessing, info=DataInfo(), seed=0)
    batch = AddNoise(inner, noise, seed=0, evaluates=False)(samples, 0)
    return batch | {"image": preprocessing.normalize(batch["image"])}


def task(preprocessing=GREY, **options):
    return Denoising(DataInfo(), preprocessing=preprocessing, **options)


def test_denoising_target_is_the_clean_image_and_not_what_the_network_saw():
    batch = made(Gaussian(level=25), preprocessing=SHIFTED)
    for kind in ("half_squares", "mse", "mae"):
        perfect = task(SHIFTED, loss=kind).loss(SHIFTED.normalize(batch["clean"]), batch)
        assert total_loss(perfect).item() == 0
        assert total_loss(task(SHIFTED, loss=kind).loss(batch["image"], batch)) > 0


def test_half_squares_are_half_of_the_sum_over_the_number_of_images():
    batch = made(Gaussian(level=25))
    error = batch["image"] - batch["clean"] / 255
    found = {kind: total_loss(task(loss=kind).loss(batch["image"], batch)) for kind in ("half_squares", "mse", "mae")}
    assert found["half_squares"].item() == pytest.approx((error**2).sum().item() / 2 / 4, rel=1e-5)
    assert found["mse"].item() == pytest.approx((error**2).mean().item(), rel=1e-5)
    assert found["mae"].item() == pytest.approx(error.abs().mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "residual"), [("dncnn_s", False), ("unet_regression", False), ("conv_autoencoder", True)]
)
def test_a_network_that_finds_no_noise_gives_back_its_input(name, residual):
    torch.manual_seed(0)
    network = models.build(name, width=4, num_classes=1, in_channels=1)
    last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    batch = made(Gaussian(level=25), side=16)
    for mode in (True, False):
        assert task(residual=residual).forward(network.train(mode), batch).equal(batch["image"])


def test_residual_learning_takes_what_the_network_gives_from_what_it_saw():
    batch = made(Gaussian(level=25))
    noise = batch["image"] - batch["clean"] / 255

    class Oracle(nn.Module):
        def forward(self, image):
            return noise

    output = task(residual=True).forward(Oracle(), batch)
    assert total_loss(task(residual=True).loss(output, batch)).item() < 1e-9


def test_denoising_autoencoder_without_corruption_is_an_autoencoder():
    torch.manual_seed(0)
    network = models.build("denoising_autoencoder", width=8, size_hw=[12, 12])
    losses = []
    for noise in (Masking(share=0.0), NoNoise()):
        batch = made(noise)
        losses.append(total_loss(task(loss="mse").loss(task().forward(network, batch), batch)))
    assert losses[0].equal(losses[1])


def test_denoising_predicts_images_on_0_to_1_whatever_the_network_sees():
    batch = made(Gaussian(level=25), preprocessing=SHIFTED)
    prediction = task(SHIFTED).decode(SHIFTED.normalize(batch["clean"]), batch)
    assert torch.allclose(prediction["clean"], batch["clean"] / 255, atol=1e-6)
    assert torch.allclose(prediction["noisy"], batch["image"] * 0.2 + 0.4)
    assert prediction["noisy"].min() < 0


def test_denoising_measures_the_noise_unclipped_and_the_answer_clipped():
    batch = made(Gaussian(level=25), count=8, side=64)
    batch["clean"] = torch.zeros_like(batch["clean"])
    batch["image"] = 25 / 255 * torch.randn(batch["clean"].shape, generator=torch.Generator().manual_seed(0))
    metric = task().metric()
    metric.update(task().decode(batch["image"], batch), batch)
    found = metric.compute()
    assert found["input_psnr"] == pytest.approx(20.172, abs=0.1)
    assert found["psnr"] == pytest.approx(20.172 + 3.01, abs=0.1)  # half of the errors are below black


def test_large_images_go_through_in_tiles_and_give_the_same(monkeypatch):
    torch.manual_seed(0)
    network = models.build("dncnn_s", width=4).eval()
    image = torch.rand(1, 1, 300, 1500)
    with torch.inference_mode():
        whole = task().forward(network, {"image": image})
        monkeypatch.setattr("unpool.tasks.denoising.LIMIT", 300 * 1400)
        assert torch.allclose(task().forward(network, {"image": image}), whole, atol=1e-5)


def test_padding_is_no_part_of_the_answer():
    padded = Preprocessing(channels=1, mean=(0.0,), std=(1.0,), multiple=8)
    batch = made(Gaussian(level=25), preprocessing=padded)
    assert batch["image"].shape[-1] == 16
    assert task(padded).decode(batch["image"], batch | {"size_hw": torch.tensor([[12, 12]])})["clean"].shape[-1] == 12
    assert total_loss(task(padded).loss(batch["image"], batch)) > 0


@pytest.mark.parametrize("loss", ["half_squares", "mse", "mae"])
def test_padding_of_images_of_several_sizes_counts_in_neither_loss_nor_metric(loss):
    sizes = [(12, 16), (14, 13)]
    images = [torch.randint(0, 256, (1, *size), dtype=torch.uint8) for size in sizes]
    clean, valid = GREY.collate(images)
    batch = {"clean": clean, "valid_xyxy": valid, "size_hw": torch.tensor(sizes)}
    batch["image"] = (GREY.normalize(clean) + 0.1 * torch.randn(clean.shape)).clamp(0, 1)
    worse = torch.where(Layout.of(batch).is_valid()[:, None], batch["image"], 9.0)
    denoising = task(GREY, loss=loss)
    assert torch.equal(*(total_loss(denoising.loss(output, batch)) for output in (batch["image"], worse)))
    together, alone = denoising.metric(), denoising.metric()
    together.update(denoising.decode(worse, batch), batch)
    for i, (height, width) in enumerate(sizes):
        one = {"image": batch["image"][i : i + 1, :, :height, :width], "clean": images[i][None]}
        alone.update(denoising.decode(one["image"], one), one)
    assert together.values == alone.values
    assert len(together.values["psnr"]) == 2


def test_normalisation_of_each_image_is_refused():
    with pytest.raises(RecipeError, match="normalize is image, which an answer cannot undo"):
        task(Preprocessing(channels=1, mean=(0.0,), std=(1.0,), normalization="image"))


def test_denoising_draws_before_after_and_what_was_removed():
    image = torch.full((3, 100, 100), 100, dtype=torch.uint8)
    drawn = task().draw(image, {"clean": torch.full((1, 100, 100), 90 / 255)})
    assert (drawn.shape, drawn.dtype) == ((3, 100, 300), torch.uint8)
    assert drawn[0, 50, [50, 150, 250]].tolist() == [100, 90, 158]
    truth = torch.full((1, 100, 100), 7, dtype=torch.uint8)
    assert task().draw(image, {"clean": truth}).equal(truth.expand(3, -1, -1))


def test_denoising_refuses_what_gives_no_image():
    with pytest.raises(RecipeError, match=r"gives \(4, 1, 6, 6\) for images \(4, 1, 12, 12\)"):
        task().forward(nn.MaxPool2d(2), made(NoNoise()))
    with pytest.raises(RecipeError, match=r"task\.loss is 'l2'"):
        task(loss="l2")
    for rule in ("cover", "stretch"):
        with pytest.raises(RecipeError, match=r"data.size is \[8, 8\]; a denoised image must have the pixels of its"):
            task(Preprocessing(size_hw=(8, 8), rule=rule))
    with pytest.raises(RecipeError, match=r"data.shorter is 8; .* leave data.shorter out"):
        task(Preprocessing(shorter=8, longest=9))


def test_denoising_needs_as_many_outputs_as_the_image_has_channels():
    assert task().outputs == 1
    assert build("denoising", DataInfo(classes=("a", "b")), options={}, preprocessing=Preprocessing()).outputs == 3


def test_denoising_learns_to_smooth():
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 5, padding=2, padding_mode="reflect")
    coarse = torch.rand(8, 1, 6, 6)
    clean = (nn.functional.interpolate(coarse, (36, 36), mode="bilinear") * 255).round().to(torch.uint8)
    noisy = clean / 255 + 0.2 * torch.randn(clean.shape)
    batch, denoising = {"image": noisy, "clean": clean}, task()
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        total_loss(denoising.loss(denoising.forward(network, batch), batch)).backward()
        optimizer.step()
    metric = denoising.metric()
    with torch.inference_mode():
        metric.update(denoising.decode(denoising.forward(network.eval(), batch), batch), batch)
    found = metric.compute()
    assert found["psnr"] > found["input_psnr"] + 8


@pytest.mark.parametrize("name", ["dncnn_s", "dncnn_b", "unet_regression"])
def test_noise_is_not_taken_away_twice(name):
    network = models.build(name, width=4, num_classes=1, in_channels=1)
    task = Denoising(DataInfo(), residual=True, preprocessing=GREY)
    with pytest.raises(RecipeError, match=r"task\.residual is true and the network takes the noise away itself"):
        task.forward(network, {"image": torch.zeros(1, 1, 16, 16)})


def test_network_of_another_kind_of_output_is_refused():
    class Beside(torch.nn.Module):
        def forward(self, image):
            return Auxiliary(image, (image,))

    with pytest.raises(
        RecipeError, match=r"the network gives Auxiliary for images \(1, 1, 8, 8\).*choose one of models"
    ):
        task(GREY).forward(Beside(), {"image": torch.zeros(1, 1, 8, 8)})


def test_delta_that_the_loss_does_not_read_is_refused():
    with pytest.raises(RecipeError, match=r"task\.huber_delta is 0\.5, which task\.loss mse does not read"):
        task(loss="mse", huber_delta=0.5)
    assert task(loss="huber", huber_delta=0.5).huber_delta == 0.5
