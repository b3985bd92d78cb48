import math

import pytest
import torch

from unpool.metrics.image_quality import ImageScores, psnr, ssim


def pictures(count=2, channels=1, size=(40, 50), seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    truth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return truth, (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)


def ssim_slowly(x, y):
    """One window after another, by equation 13 and the weights of section III-C of Wang et al. 2004."""
    weights = [[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)] for i in range(-5, 6)]
    weights = torch.tensor(weights, dtype=torch.float64)
    weights /= weights.sum()
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (z[top : top + 11, left : left + 11].double() for z in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            value = (2 * mean_a * mean_b + 0.01**2) * (2 * both + 0.03**2)
            values.append(float(value / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))))
    return sum(values) / len(values)


def test_psnr_of_one_grey_level_of_error_is_48_13_db():
    truth = torch.full((1, 1, 4, 4), 0.5)
    assert psnr(truth + 1 / 255, truth).item() == pytest.approx(48.1308, abs=1e-4)


def test_psnr_of_the_same_image_has_no_bounds():
    truth, _ = pictures()
    assert psnr(truth, truth).tolist() == [math.inf, math.inf]


def test_ssim_is_that_of_the_paper():
    truth, answer = pictures(1, size=(16, 18))
    assert ssim(answer, truth).item() == pytest.approx(ssim_slowly(answer[0, 0], truth[0, 0]), abs=1e-9)
    assert ssim(truth, truth).item() == pytest.approx(1)


def test_ssim_of_colours_is_the_mean_over_channels():
    truth, answer = pictures(2, channels=3)
    each = torch.stack([ssim(answer[:, c : c + 1], truth[:, c : c + 1]) for c in range(3)])
    assert ssim(answer, truth).tolist() == pytest.approx(each.mean(0).tolist())


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_are_those_of_scikit_image(channels):
    metrics = pytest.importorskip("skimage.metrics")
    truth, answer = pictures(1, channels)
    a, b = (z[0].permute(1, 2, 0).double().numpy() for z in (answer, truth))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = metrics.structural_similarity(b, a, channel_axis=2, **options)
    assert ssim(answer, truth).item() == pytest.approx(expected, abs=1e-7)
    assert psnr(answer, truth).item() == pytest.approx(metrics.peak_signal_noise_ratio(b, a, data_range=1.0), abs=1e-6)


def batch_of(errors):
    truth = torch.full((len(errors), 1, 12, 12), 102, dtype=torch.uint8)
    shift = torch.tensor(errors).view(-1, 1, 1, 1)
    answer = truth.float() / 255 + shift
    return {"clean": answer, "noisy": answer + shift}, {"clean": truth}


def test_psnr_is_averaged_over_images_and_not_of_the_mean_error():
    scores = ImageScores()
    scores.update(*batch_of([0.1, 0.001]))
    assert scores.compute()["psnr"] == pytest.approx((20 + 60) / 2, abs=1e-3)
    assert scores.compute()["input_psnr"] == pytest.approx(40 - 20 * math.log10(2), abs=1e-3)


def test_scores_of_parts_merge_into_those_of_the_whole():
    whole, first, second = ImageScores(), ImageScores(), ImageScores()
    whole.update(*batch_of([0.1, 0.02, 0.3]))
    first.update(*batch_of([0.1]))
    second.update(*batch_of([0.02, 0.3]))
    first.merge(second)
    assert first.compute() == pytest.approx(whole.compute())


def test_flawless_image_is_left_out_of_psnr_and_counted():
    scores = ImageScores()
    scores.update(*batch_of([0.1, 0.0, 0.001]))
    found = scores.compute()
    assert found["psnr"] == pytest.approx((20 + 60) / 2, abs=1e-3)
    assert (found["psnr_images"], found["input_psnr_images"], found["ssim_images"]) == (2, 2, 3)


def test_image_that_is_not_finite_is_not_left_out_of_psnr():
    scores = ImageScores()
    scores.update(*batch_of([0.1, math.nan]))
    assert scores.compute()["psnr"] is None


def test_small_image_is_left_out_of_ssim_and_counted():
    scores, alone = ImageScores(), ImageScores()
    for one in (scores, alone):
        one.update(*batch_of([0.1]))
    truth = torch.zeros(1, 1, 8, 30, dtype=torch.uint8)
    scores.update({"clean": truth + 0.1, "noisy": truth + 0.1}, {"clean": truth})
    assert scores.compute()["ssim"] == alone.compute()["ssim"]
    assert (scores.compute()["ssim_images"], scores.compute()["psnr_images"]) == (1, 2)


def test_scores_of_nothing_and_of_small_images_are_none():
    assert {ImageScores().compute()[name] for name in ("psnr", "ssim", "input_psnr")} == {None}
    scores = ImageScores()
    truth = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    scores.update({"clean": truth + 0.1, "noisy": truth + 0.1}, {"clean": truth})
    assert scores.compute()["ssim"] is None
    assert scores.compute()["psnr"] == pytest.approx(20)
