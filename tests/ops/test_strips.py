"""Images much longer than wide: resized as others are, in memory that does not grow with their length."""

import json
import random
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import interpolate

from unpool.ops.cutting import Frame, cut, resize_to, resized_part
from unpool.ops.preprocessing import STRIP, Preprocessing

ORDINARY = [(360, 480), (375, 500), (500, 375), (224, 224), (256, 341), (1280, 960), (32, 32), (28, 28), (600, 5600)]
STRIPS = [(10, 2000), (1, 20_000), (1, 100_000), (2000, 10), (100_000, 1), (3, 30_000), (40, 50_000)]


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def whole_first(image, chosen):
    """The whole image resized, then its centre cut out."""
    left, top, right, bottom = (int(side) for side in chosen.boxes(torch.tensor([image.shape[-2:]]))[0])
    return cut(resize_to(image, (bottom - top, right - left)), Frame(-left, -top, *chosen.size_hw), chosen.fill)


def test_cover_of_ordinary_images_is_bit_for_bit_the_whole_resized_and_cut():
    drawn = random.Random(0)
    sizes = ORDINARY + [(drawn.randint(30, 400), drawn.randint(30, 400)) for _ in range(200)]
    for height, width in sizes:
        chosen = Preprocessing(size_hw=drawn.choice([(224, 224), (32, 32), (96, 128)]), rule="cover")
        image = picture(height, width)
        assert max(height, width) / min(height, width) < STRIP / 2
        assert torch.equal(chosen.resize(image), whole_first(image, chosen)), (height, width)


@pytest.mark.parametrize("size", [(5, 300), (300, 5), (1, 64), (64, 1), (2, 999), (60, 3000), (40, 2000)])
def test_centre_of_a_strip_is_that_of_the_whole_up_to_one_level(size):
    chosen = Preprocessing(size_hw=(64, 64), rule="cover")
    image = picture(*size)
    expected = whole_first(image, chosen)
    assert (chosen.resize(image).int() - expected.int()).abs().max() <= 1
    assert (chosen.resize(torch.stack([image, image]))[1].int() - expected.int()).abs().max() <= 1


def test_small_images_are_resized_whole_to_any_shape():
    chosen = Preprocessing(size_hw=(1, 38), rule="cover", crop=0.8)
    for seed in range(40):
        image = picture(5, 8, seed=seed)
        assert torch.equal(chosen.resize(image), whole_first(image, chosen))


def test_part_of_a_resized_image_is_cut_from_the_whole_up_to_one_level():
    drawn = random.Random(0)
    for _ in range(200):
        height, width, tall, wide = (drawn.randint(1, 60) for _ in range(4))
        top, left = drawn.randrange(tall), drawn.randrange(wide)
        frame = Frame(left, top, drawn.randint(1, tall - top), drawn.randint(1, wide - left))
        image = picture(height, width)
        expected = cut(resize_to(image, (tall, wide)), frame, torch.zeros(3))
        assert (resized_part(image, (tall, wide), frame).int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("size", [(5, 1), (1, 1), (48, 1), (48, 7)])
@pytest.mark.parametrize("rows", [1, 3, 24, 100])
def test_result_of_one_column_is_the_one_row_of_the_image_turned(rows, size):
    image = picture(*size)
    turned = resize_to(image.mT.contiguous(), (1, rows))
    assert torch.equal(resize_to(image, (rows, 1)), turned.mT)
    wide = interpolate(turned.float().expand(-1, 2, -1)[None], (2, rows), mode="bilinear", antialias=True)
    assert torch.equal(wide[0, :, 0].to(torch.uint8), turned[:, 0])


def test_strip_fitted_between_bars_keeps_its_gradient():
    image = torch.linspace(0, 255, 5000)[None, :, None].expand(3, -1, 1).round().to(torch.uint8)
    column = Preprocessing(size_hw=(64, 64), rule="fit", mean=(0.0,) * 3).resize(image)[0].amax(1).int()
    assert (column.diff() >= 0).all()
    assert (int(column[0]), int(column[-1])) == (0, 2)  # one of 64 columns, weighted as half of them


MEASURE = """
import json, resource, sys, torch
from unpool.ops.preprocessing import Preprocessing
torch.set_num_threads(1)
def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
rule, sizes = json.loads(sys.argv[1])
chosen = Preprocessing(size_hw=(224, 224), rule=rule)
chosen.normalize(chosen.resize(torch.zeros(3, 400, 400, dtype=torch.uint8)))
before, limit = peak_mib(), 8 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for height, width in sizes:
    assert chosen.resize(torch.zeros(3, height, width, dtype=torch.uint8)).shape == (3, 224, 224)
print(peak_mib() - before)
"""


@pytest.mark.parametrize(
    ("rule", "most_mib"),
    [
        ("cover", 100),
        pytest.param("stretch", 100, marks=pytest.mark.slow),
        pytest.param("fit", 500, marks=pytest.mark.slow),
    ],
)
def test_strips_take_no_more_memory_than_others(rule, most_mib):
    command = [sys.executable, "-c", MEASURE, json.dumps([rule, STRIPS])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < most_mib
