"""Which values of a data set's images are black and white: found, held to, and never guessed."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor, v2

from unpool.data.plain import Levels, find_levels, find_normalization
from unpool.data.plain.levels import check_levels, image_of
from unpool.errors import DataError

BYTES = torch.arange(192, dtype=torch.uint8).view(3, 8, 8)


@pytest.mark.parametrize(
    "value",
    [
        Image.fromarray(BYTES.permute(1, 2, 0).numpy()),
        BYTES.permute(1, 2, 0).numpy(),
        BYTES.numpy(),
        BYTES,
        BYTES.flip(0, 1).permute(1, 2, 0).numpy()[::-1, :, ::-1],
        BYTES.numpy()[None, ::-1, ::-1].astype(">i2")[0, ::-1, ::-1],
    ],
    ids=["pillow", "array HWC", "array CHW", "tensor", "backwards", "big-endian"],
)
def test_every_form_of_an_image_is_the_same_tensor(value):
    assert image_of(value).tolist() == BYTES.tolist()


@pytest.mark.parametrize("used", [BYTES.clone(), BYTES.clone().numpy(), BYTES.permute(1, 2, 0).clone().numpy()])
def test_an_image_is_a_copy_of_memory_that_its_set_uses_again(used):
    image = image_of(used)
    used[...] = 0
    assert torch.equal(image, BYTES)


def test_grey_images_have_one_channel():
    grey = BYTES[0]
    for value in (Image.fromarray(grey.numpy()), grey.numpy(), grey):
        assert torch.equal(image_of(value), grey[None])


def test_pictures_with_palettes_show_their_colours():
    picture = Image.fromarray(BYTES.permute(1, 2, 0).numpy()).quantize(4)
    assert torch.equal(image_of(picture), image_of(picture.convert("RGB")))


def test_sixteen_bits_keep_their_values():
    values = np.array([[0, 40_000], [65_535, 7]], np.uint16)
    for value in (values, Image.fromarray(values), torch.from_numpy(values)):
        assert image_of(value).tolist() == values[None].tolist()
        assert image_of(value).aminmax().max == 65_535  # of a type that torch computes with


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(8, 8, 3), "permute it"),
        (torch.zeros(8, 8, 4), "permute it"),
        (torch.zeros(3, 8, 8, dtype=torch.complex64), "complex64"),
        (np.zeros((5, 8, 8)), "first or last"),
        (torch.zeros(1, 3, 8, 8), "(1, 3, 8, 8)"),
        (Image.new("RGBA", (4, 4)), "mode RGBA"),
        ("photo.jpg", "is a str"),
        (np.array([["a"]]), "array"),
    ],
)
def test_what_could_be_another_image_is_refused(value, said):
    with pytest.raises(DataError, match=said.replace("(", r"\(").replace(")", r"\)")):
        image_of(value)


@pytest.mark.parametrize(
    ("image", "levels"),
    [
        (BYTES, Levels()),
        (BYTES.float(), Levels()),
        (BYTES.long(), Levels()),
        (BYTES / 255, Levels(white=1.0)),
        (BYTES > 100, Levels(white=1.0)),
    ],
    ids=["uint8", "float of 0 to 255", "int64", "float of 0 to 1", "bool"],
)
def test_levels_are_those_that_the_values_show(image, levels):
    assert find_levels([image], None) == levels
    if image.dtype != torch.bool:
        assert torch.equal(levels.to_uint8(image), BYTES)
    else:
        assert levels.to_uint8(image).unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    "image",
    [
        torch.tensor([[[0, 4095]]], dtype=torch.int32),
        torch.tensor([[[-1.0, 1.0]]]),
        torch.tensor([[[0.0, 254.5]]]),
        torch.tensor([[[0, 1]]], dtype=torch.uint8),
        torch.tensor([[[0.0, torch.nan]]]),
    ],
    ids=["12 bits", "-1 to 1", "floats beyond 1", "bytes of 0 and 1", "NaN"],
)
def test_values_that_could_mean_several_things_are_refused(image):
    with pytest.raises(DataError, match=r"set data\.black and data\.white"):
        find_levels([image], None)


def test_floats_that_rounding_would_lose_are_refused_and_bytes_that_are_as_dark_are_not():
    dark = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match=r"from .* to 0\.0099.*set data\.white to the value"):
        find_levels([dark * 0.01], None)
    with pytest.raises(DataError, match=r"data\.normalized=true and its data\.mean"):
        find_levels([(dark * 0.01 - 0.5) / 0.5], ((0.5,) * 3, (0.5,) * 3))
    assert find_levels([BYTES // 4 / 255], None) == find_levels([dark], None) == Levels(white=1.0)


NORMALIZED = ((0.5,), (0.25,))
UNDONE = Levels(0.0, 1.0, *NORMALIZED)
GREY = torch.tensor([[[0, 100, 255]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("image", "named", "levels"),
    [
        (GREY / 255, None, Levels()),
        (GREY, None, Levels(white=1.0)),
        (GREY, None, Levels(white=4095.0)),
        (GREY > 9, None, Levels()),
        (GREY / 255, None, UNDONE),
        ((GREY / 255 - 0.5) / 0.25, NORMALIZED, Levels(white=1.0)),
        ((GREY / 255 - 0.4) / 0.25, ((0.4,), (0.25,)), UNDONE),
    ],
)
def test_images_of_other_values_than_those_of_training_are_refused(image, named, levels):
    with pytest.raises(DataError, match=r"the images of val hold .* and would be read with black at 0"):
        check_levels([image], named, levels, what="the images of val")


@pytest.mark.parametrize(
    ("image", "named", "levels"),
    [
        (GREY, None, Levels()),
        (GREY.int(), None, Levels(white=4095.0)),  # of 12 bits, and dark
        (GREY // 2, None, Levels(white=200.0)),
        (GREY / 255, None, Levels(white=1.5)),
        (GREY * 0, None, Levels(white=1.0)),
        (GREY * 0.0, None, Levels()),
        (GREY / 510, NORMALIZED, UNDONE),  # bright
        ((GREY / 255 - 0.5) / 0.25, None, UNDONE),
    ],
)
def test_images_that_may_have_the_values_of_training_are_read_as_those(image, named, levels):
    check_levels([image], named, levels, what="the images of val")


def test_images_of_all_samples_decide_together():
    dark, bright = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.0, 200.0]]])
    assert find_levels([dark, bright], None) == Levels()


def test_a_normalisation_that_the_set_names_is_undone_to_the_byte():
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    class Photos:
        transform = Compose([ToTensor(), Normalize(mean, std)])

    seen = Photos.transform(Image.fromarray(BYTES.permute(1, 2, 0).numpy()))
    levels = find_levels([seen], find_normalization(Photos()))
    assert levels == Levels(0.0, 1.0, tuple(mean), tuple(std))
    assert torch.equal(levels.to_uint8(seen), BYTES)


def test_a_normalisation_that_does_not_fit_the_values_is_not_believed():
    with pytest.raises(DataError, match="normalized=true"):
        find_levels([torch.tensor([[[-9.0, 9.0]]])], ((0.5,), (0.25,)))


def test_normalisation_is_found_inside_of_subsets_and_compositions():
    class Photos:
        transforms = v2.Compose([v2.ToImage(), v2.Compose([v2.Normalize([0.5], [0.2])])])

    class Part:
        dataset = Photos()

    assert find_normalization(Part()) == ((0.5,), (0.2,))


def test_two_normalisations_that_differ_are_none():
    class Photos:
        transforms = (Normalize([0.5], [0.2]), Normalize([0.4], [0.2]))

    assert find_normalization(Photos()) is None


@pytest.mark.parametrize("value", [-0.01, 1.01, torch.nan])
def test_a_value_beyond_black_or_white_is_refused_wherever_it_is_met(value):
    with pytest.raises(DataError, match="black is 0 and white 1"):
        Levels(white=1.0).to_uint8(torch.tensor([[[0.5, value]]]))


def test_rounding_of_float_is_no_value_beyond():
    assert Levels(white=1.0).to_uint8(torch.tensor([[[-0.001, 1.001]]])).tolist() == [[[0, 255]]]


def test_other_ends_are_those_that_the_recipe_says():
    image = torch.tensor([[[100, 600, 1100]]], dtype=torch.int32)
    assert Levels(100, 1100).to_uint8(image).tolist() == [[[0, 128, 255]]]
