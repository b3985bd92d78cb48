"""Hashes are those of the imagehash package, and copies of a picture are told from pictures that are merely alike."""

import io

import imagehash
import numpy as np
import pytest
import torch
from PIL import Image

from unpool.data.likeness import DISTANCE, are_copies, are_flat, hashes_of, thumbnail

EXACT_PIXELS = 1 << 18  # above it blocks are averaged first
SIZES = [(32, 32), (33, 90), (180, 180), (375, 500), (640, 409), (900, 700)]  # height, width


def photograph(height: int = 240, width: int = 320, seed: int = 0) -> Image.Image:
    """Smooth colours with some texture, as in a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    values = np.array(image)
    return torch.from_numpy(values[None] if values.ndim == 2 else values.transpose(2, 0, 1).copy())


def encoded(image: Image.Image, form: str, **options) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Image.open(buffer).convert(image.mode)


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def differing_bits(image: Image.Image) -> int:
    pixels = tensor(image)
    mirror = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    theirs = [int(str(imagehash.phash(one)), 16) for one in (image, mirror)]
    return max((ours ^ their).bit_count() for ours, their in zip(hashes_of(pixels), theirs, strict=True))


def same(first: Image.Image, second: Image.Image, *, mirrored: bool = False) -> bool:
    """Whether the search would take the two for copies: hashes first, then thumbnails."""
    one, two = tensor(first), tensor(second)
    bits = (hashes_of(one)[mirrored] ^ hashes_of(two).upright).bit_count()
    small = thumbnail(two)[None]
    return bits <= DISTANCE and bool(are_copies(thumbnail(one)[None], small[:, :, ::-1] if mirrored else small)[0])


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
def test_hashes_are_those_of_imagehash(size, mode):
    image = photograph(*size, seed=size[0]).convert(mode)
    assert differing_bits(image) <= (0 if size[0] * size[1] <= EXACT_PIXELS else 2)


@pytest.mark.data
def test_hashes_of_real_pictures_are_those_of_imagehash(shared_data):
    folders = ("hymenoptera/*/*/*.jpg", "bsd_denoise/BSD68/*.png", "orl_faces/*/1.pgm", "imagenet_samples/images/*")
    files = [file for pattern in folders for file in sorted(shared_data.glob(pattern))[:40]]
    assert len(files) >= 100
    for file in files:
        with Image.open(file) as image:
            for mode in ("RGB", "L"):
                most = 0 if image.width * image.height <= EXACT_PIXELS else 2
                assert differing_bits(image.convert(mode)) <= most, file


@pytest.mark.parametrize(
    "change",
    [
        *(lambda i, q=q: encoded(i, "JPEG", quality=q) for q in (50, 95)),
        lambda i: encoded(i, "WEBP", quality=50),
        lambda i: encoded(scaled(i, 0.5), "JPEG", quality=50),
        lambda i: scaled(i, 2),
        lambda i: i.convert("L").convert("RGB"),
    ],
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_encoded_scaled_and_mirrored_copies_are_recognised(change, mirrored):
    image = photograph()
    copy = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
    assert same(image, change(copy), mirrored=mirrored)


def lightened(image: Image.Image, left: int) -> Image.Image:
    """The picture with a square of 40 pixels that is a little lighter."""
    changed, box = image.copy(), (left, 40, left + 40, 80)
    changed.paste(image.crop(box).point(lambda value: min(value + 40, 255)), box)
    return changed


def test_picture_in_which_one_thing_moved_is_no_copy():
    image, moved = lightened(photograph(), 50), lightened(photograph(), 40)
    small, other = thumbnail(tensor(image)), thumbnail(tensor(moved))
    assert np.corrcoef(small.ravel(), other.ravel())[0, 1] > 0.996  # so that it is no copy by the change alone
    assert (hashes_of(tensor(image)).upright ^ hashes_of(tensor(moved)).upright).bit_count() <= DISTANCE
    assert not same(image, moved)


def test_pictures_of_low_contrast_that_differ_are_no_copies():
    upright = np.tile(np.array([95, 105], np.uint8).repeat(2), (32, 8))  # stripes
    assert not are_flat(upright[None])[0]
    assert np.sqrt(((upright.astype(float) - upright.T) ** 2).mean()) < 7.5  # less than re-encoding may change
    assert not are_copies(upright[None], upright.T[None])[0]
    assert are_copies(upright[None], upright[None] + 3)[0]


def test_picture_that_shows_nothing_is_no_copy_of_itself():
    rng = np.random.default_rng(0)
    for level in (0, 128):
        flat = Image.fromarray((level + rng.integers(0, 3, (64, 64))).astype(np.uint8))
        assert not same(flat, flat)


def test_small_picture_is_compared_by_its_pixels():
    digit = torch.zeros(1, 28, 28, dtype=torch.uint8)
    digit[0, 4:24, 10:13] = 255
    other = digit.clone()
    other[0, 24, 11] = 90
    assert hashes_of(digit) == hashes_of(digit.clone())
    assert hashes_of(digit).mirrored == hashes_of(digit.flip(-1)).upright
    assert (hashes_of(digit).upright ^ hashes_of(other).upright).bit_count() > DISTANCE


def test_image_of_many_bands_has_a_hash_of_all_of_them():
    bands = torch.stack([torch.zeros(40, 40, dtype=torch.uint8), *tensor(photograph(40, 40))])
    assert hashes_of(bands) != hashes_of(bands[:1])


@pytest.mark.parametrize(("change", "are"), [((15, 15, -15, -15), True), ((15, 16, -15, -16), False)])
def test_pictures_are_copies_up_to_the_largest_difference_of_a_block(change, are):
    first = np.tile(np.linspace(20, 230, 32).round().astype(np.uint8), (32, 1))
    second = first.copy()
    second[4, 8:12] += np.array(change).astype(np.uint8)  # 4 of 16 pixels: a root mean square of 15 / 2 and a bit more
    assert are_copies(first[None], second[None])[0] == are
