import math

import pytest
import torch

from unpool.data.augment import AUGMENTATIONS, Augment, Collate
from unpool.data.noise import NOISES, AddNoise, Gaussian, Masking, NoNoise, Poisson, SaltAndPepper
from unpool.data.repeated import Repeated
from unpool.errors import RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.types import DataInfo

GREY = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
EVERY = {
    "none": NoNoise(),
    "gaussian": Gaussian(level=25),
    "poisson": Poisson(peak=30),
    "salt_and_pepper": SaltAndPepper(share=0.2),
    "masking": Masking(share=0.2),
}


def samples(count=4, side=12, channels=1):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (channels, side, side), dtype=torch.uint8, generator=generator),
            "index": torch.tensor(i),
            "size_hw": torch.tensor([side, side]),
        }
        for i in range(count)
    ]


def training(noise, *, seed=0):
    inner = Augment([], size_hw=None, preprocessing=GREY, info=DataInfo(), seed=seed)
    return AddNoise(inner, noise, seed=seed, evaluates=False)


def evaluating(noise, *, seed=0):
    return AddNoise(Collate(GREY), noise, seed=seed, evaluates=True)


def field(noise, value=100.0, side=400, seed=1):
    clean = torch.full((1, side, side), value)
    return noise.add(clean, torch.Generator().manual_seed(seed))


def test_every_kind_of_noise_is_tested_here():
    assert set(EVERY) == set(NOISES)


@pytest.mark.parametrize("name", EVERY)
def test_noise_leaves_the_target_alone_and_is_made_of_it(name):
    given = samples()
    batch = training(EVERY[name])(given, 0)
    assert batch["clean"].dtype == torch.uint8
    assert batch["clean"].equal(torch.stack([sample["image"] for sample in given]))
    assert batch["image"].dtype == torch.float32
    assert batch["image"].shape == batch["clean"].shape
    assert batch["image"].equal(batch["clean"].float()) == (name == "none")


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"none"}))
def test_training_noise_is_a_function_of_seed_epoch_and_sample(name):
    given, add = samples(), training(EVERY[name])
    whole = add(given, 3)["image"]
    assert add([given[2], given[0]], 3)["image"].equal(whole[[2, 0]])
    assert not add(given, 4)["image"].equal(whole)
    assert not training(EVERY[name], seed=1)(given, 3)["image"].equal(whole)
    same = [{**given[0], "index": torch.tensor(i)} for i in range(2)]
    first, second = add(same, 0)["image"]
    assert not first.equal(second)


@pytest.mark.parametrize("name", EVERY)
def test_evaluation_noise_is_the_same_in_every_epoch(name):
    given = samples()
    whole = evaluating(EVERY[name])(given, 0)["image"]
    assert evaluating(EVERY[name])(given, 7)["image"].equal(whole)
    assert evaluating(EVERY[name])(given[1:], 0)["image"].equal(whole[1:])


def test_evaluation_noise_is_not_that_of_a_training_epoch():
    given = samples()
    assert not training(Gaussian(level=25))(given, 0)["image"].equal(evaluating(Gaussian(level=25))(given, 0)["image"])


def test_noise_does_not_touch_the_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for noise in EVERY.values():
        training(noise)(samples(), 0)
    assert torch.rand(2).equal(expected)


def test_gaussian_noise_of_25_has_a_psnr_of_20_172_db():
    error = (field(Gaussian(level=25), side=1000) - 100) / 255
    assert -10 * math.log10(error.square().mean()) == pytest.approx(20.172, abs=0.02)
    assert -20 * math.log10(25 / 255) == pytest.approx(20.172, abs=5e-4)


def test_gaussian_noise_is_neither_clipped_nor_rounded():
    black, white = field(Gaussian(level=25), 0.0), field(Gaussian(level=25), 255.0)
    assert black.min() < -75
    assert white.max() > 330
    assert abs(black.mean()) < 0.5
    assert not black.equal(black.round())


def test_a_range_of_levels_is_drawn_evenly_for_each_image():
    noise = Gaussian(level=[0, 50])
    found = torch.tensor([float(field(noise, side=32, seed=seed).std()) for seed in range(200)])
    assert found.min() < 3
    assert found.max() > 46
    assert float(found.mean()) == pytest.approx(25, abs=3)


def test_poisson_noise_keeps_the_mean_and_grows_with_the_root_of_the_value():
    noise = Poisson(peak=30)
    for value in (60.0, 240.0):
        found = field(noise, value)
        assert float(found.mean()) == pytest.approx(value, rel=0.02)
        assert float(found.std()) == pytest.approx(math.sqrt(value * 255 / 30), rel=0.02)


def test_salt_and_pepper_make_their_share_of_pixels_white_or_black():
    found = field(SaltAndPepper(share=0.2))
    assert float((found == 255).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert float((found == 0).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert float((found == 100).float().mean()) == pytest.approx(0.8, abs=0.01)


def test_masking_makes_whole_pixels_black():
    clean = torch.full((3, 200, 200), 90.0)
    found = Masking(share=0.3).add(clean, torch.Generator().manual_seed(0))
    assert float((found == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert found[0].equal(found[1])
    assert set(found.unique().tolist()) == {0.0, 90.0}


def test_masking_of_no_pixel_is_no_noise():
    given = samples()
    masked, plain = (training(noise)(given, 0) for noise in (Masking(share=0), NoNoise()))
    assert masked["image"].equal(plain["image"])
    assert masked["clean"].equal(plain["clean"])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Gaussian(level=-1), "gaussian.level is -1"),
        (lambda: Gaussian(level=[50, 5]), r"gaussian.level is \[50, 5\]; expected two numbers .* from 0 to 255"),
        (lambda: Masking(share=1.5), "masking.share is 1.5"),
        (lambda: Poisson(peak=0), "poisson.peak is 0"),
        (lambda: SaltAndPepper(share=[0.1]), r"salt_and_pepper.share is \[0.1\]"),
    ],
)
def test_levels_that_are_none_are_refused(build, says):
    with pytest.raises(RecipeError, match=says):
        build()


def test_pairs_are_cut_and_turned_alike():
    generator = torch.Generator().manual_seed(1)
    clean = torch.randint(0, 200, (1, 20, 24), dtype=torch.uint8, generator=generator)
    given = [{"image": clean + 5, "clean": clean, "index": torch.tensor(i)} for i in range(8)]
    steps = [AUGMENTATIONS[name]() for name in ("crop", "flip", "turn")]
    batch = Augment(steps, size_hw=(9, 9), preprocessing=GREY, info=DataInfo(), seed=0)(given, 0)
    assert batch["clean"].shape == (8, 1, 9, 9)
    assert (batch["image"] - batch["clean"]).unique().tolist() == [5]
    assert len({tuple(one.flatten().tolist()) for one in batch["clean"]}) == 8


class _Set:
    gives, info = ("image",), DataInfo()

    def __init__(self, count):
        self.made = samples(count)
        self.names = [f"{i}.png" for i in range(count)]
        self.sizes_hw = [(12, 12)] * count

    def __len__(self):
        return len(self.made)

    def __getitem__(self, index):
        return self.made[index]


def test_repeated_samples_take_every_image_as_often_under_numbers_of_their_own():
    repeated = Repeated(_Set(3), 4)
    assert len(repeated) == len(repeated.names) == len(repeated.sizes_hw) == 12
    assert [int(repeated[i]["index"]) for i in range(12)] == list(range(12))
    assert [repeated.names[i] for i in (0, 3, 4, 11)] == ["0.png", "0.png", "1.png", "2.png"]
    assert all(repeated[i]["image"].equal(samples(3)[i // 4]["image"]) for i in range(12))
    with pytest.raises(IndexError):
        repeated[12]
