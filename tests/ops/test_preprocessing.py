"""Promises of preprocessing: each rule against a slow reference, normalisation by its definition, JSON."""

import base64
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from unpool.errors import DataError
from unpool.ops import mean_image, preprocessing
from unpool.ops.cutting import resize_to
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing

RULES = ("stretch", "cover", "fit")
side = st.integers(1, 40)
sizes = st.tuples(side, side)


def picture(height, width, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


def shown_by_hand(size, seen, rule, crop):
    """Left, top, right, bottom of the input between which all of the image lies, in plain numbers."""
    (height, width), (rows, columns) = size, seen
    if rule == "stretch":
        return 0, 0, columns, rows
    if rule == "cover":
        scale = max(rows / height, columns / width) / crop
        tall, wide = max(rows, round(height * scale)), max(columns, round(width * scale))
        top, left = (tall - rows) // 2, (wide - columns) // 2
        return -left, -top, wide - left, tall - top
    tall, wide = max(height, math.ceil(width * rows / columns)), max(width, math.ceil(height * columns / rows))
    top, left = -round((height - tall) / 2), -round((width - wide) / 2)
    across, down = columns / wide, rows / tall
    return left * across, top * down, (left + width) * across, (top + height) * down


@pytest.mark.parametrize("rule", RULES)
@given(size=sizes, seen=sizes, crop=st.floats(0.3, 1.0))
@settings(max_examples=60, deadline=None)
def test_box_of_the_image_is_the_one_counted_by_hand(rule, size, seen, crop):
    chosen = Preprocessing(size_hw=seen, rule=rule, crop=crop)
    box = chosen.boxes(torch.tensor([size]))[0].tolist()
    assert box == pytest.approx(shown_by_hand(size, seen, rule, crop), abs=1e-9)
    if rule == "fit":
        aspect = (box[2] - box[0]) / (box[3] - box[1])
        assert abs(math.log(aspect * size[0] / size[1])) <= math.log1p(1 / min(max(size), *seen)) + 0.7
        assert min(box) > -1e-9
        assert box[2] <= seen[1] + 1e-9
        assert box[3] <= seen[0] + 1e-9


@pytest.mark.parametrize("rule", RULES)
@given(size=sizes, seen=sizes)
@settings(max_examples=40, deadline=None)
def test_resized_image_is_the_plain_resize_between_what_lies_beside(rule, size, seen):
    chosen = Preprocessing(size_hw=seen, rule=rule, crop=0.8)
    image = picture(*size)
    resized = chosen.resize(image)
    assert resized.shape == (3, *seen)
    if rule == "fit":  # bars first, then the resize
        tall = max(size[0], math.ceil(size[1] * seen[0] / seen[1]))
        wide = max(size[1], math.ceil(size[0] * seen[1] / seen[0]))
        framed = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None].repeat(1, tall, wide)
        top, left = -round((size[0] - tall) / 2), -round((size[1] - wide) / 2)
        framed[:, top : top + size[0], left : left + size[1]] = image
        assert torch.equal(resized, resize_to(framed, seen))
    else:
        left, top, right, bottom = shown_by_hand(size, seen, rule, 0.8)
        whole = resize_to(image, (bottom - top, right - left))
        assert torch.equal(resized, whole[:, -top : seen[0] - top, -left : seen[1] - left])


@pytest.mark.parametrize("size", [(40, 24), (40, 25), (35, 64), (64, 64)])
def test_fit_to_a_square_is_the_square_around_the_image_made_smaller(size):
    image = picture(*size)
    longest = max(size)
    top, left = -round((size[0] - longest) / 2), -round((size[1] - longest) / 2)
    square = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None].repeat(1, longest, longest)
    square[:, top : top + size[0], left : left + size[1]] = image
    expected = Preprocessing(size_hw=(32, 32)).resize(square)
    assert torch.equal(Preprocessing(size_hw=(32, 32), rule="fit").resize(image), expected)


def test_long_image_is_made_smaller_before_its_bars_are_added(monkeypatch):
    monkeypatch.setattr(preprocessing, "LONGEST", 50)
    image = picture(200, 72)
    chosen = Preprocessing(size_hw=(50, 50), rule="fit")
    assert torch.equal(chosen.resize(image)[:, :, 16:34], resize_to(image, (50, 18)))
    assert chosen.boxes(torch.tensor([[200, 72]]))[0].tolist() == [16, 0, 34, 50]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 3)])
def test_smallest_images_survive_every_rule(size, rule):
    chosen = Preprocessing(size_hw=(4, 6), rule=rule, multiple=8, mean=(0.5,) * 3)
    seen = chosen.normalize(chosen.resize(torch.full((3, *size), 128, dtype=torch.uint8)))
    assert seen.shape == (3, 8, 8)
    assert seen.abs().max() < 0.02


def test_coordinate_maps_do_what_resize_does():
    chosen = Preprocessing(size_hw=(20, 30), rule="fit")
    maps, extent = chosen.maps(torch.tensor([[10, 40], [9, 9]]), whole=False)
    assert extent.tolist() == [[20, 30], [20, 30]]
    corners = torch.tensor([[0, 0, 1], [30, 20, 1]], dtype=torch.float64).T
    assert (maps @ corners)[0, :2].T.flatten().tolist() == pytest.approx([0, -8, 40, 19])  # 27 rows, 8 of them above
    alone, extent = chosen.maps(torch.tensor([[10, 40]]), whole=True)
    assert extent[0].tolist() == pytest.approx([10 * 20 / 27, 30])
    assert (alone[0] @ torch.tensor([30, 10 * 20 / 27, 1], dtype=torch.float64))[:2].tolist() == pytest.approx([40, 10])


def test_images_of_several_sizes_are_padded_to_the_largest_with_the_mean_colour():
    images = [picture(4, 9), picture(7, 3)]
    batch, valid = Preprocessing().collate(images)
    assert batch.shape == (2, 3, 7, 9)
    assert valid.tolist() == [[0, 0, 9, 4], [0, 0, 3, 7]]
    for image, one, (_, _, right, bottom) in zip(images, batch, valid.int().tolist(), strict=True):
        assert torch.equal(one[:, :bottom, :right], image)
        for rest in (one[:, bottom:], one[:, :, right:]):
            assert rest.eq(torch.tensor([124, 116, 104])[:, None, None]).all()


@pytest.mark.parametrize("rule", RULES)
def test_batch_of_images_brought_to_size_is_each_of_them(rule):
    images = [picture(14, 9), picture(7, 13)]
    chosen = Preprocessing(size_hw=(8, 12), rule=rule)
    batch, valid = chosen.collate(images)
    assert torch.equal(batch, torch.stack([chosen.resize(image) for image in images]))
    for image, box in zip(images, valid, strict=True):
        assert torch.equal(box, chosen.layout(tuple(image.shape[-2:])).valid_xyxy[0])


def test_normalised_image_has_zero_mean_and_unit_deviation():
    image = torch.stack([picture(40, 50, seed=0), picture(40, 50, seed=1)])
    values = image.float().transpose(0, 1).flatten(1) / 255
    chosen = Preprocessing(mean=tuple(values.mean(1).tolist()), std=tuple(values.std(1).tolist()))
    normal = chosen.normalize(image).transpose(0, 1).flatten(1)
    torch.testing.assert_close(normal.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(1), torch.ones(3), atol=1e-4, rtol=0)


def test_default_normalisation_is_bit_for_bit_a_share_of_255_less_mean_over_deviation():
    image = picture(8, 9)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.equal(Preprocessing().normalize(image), (image.float() / 255 - mean) / std)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"value_range": (0.0, 255.0), "mean": (103.0, 116.0, 123.0), "std": (1.0,) * 3}, lambda x: x - 103),
        ({"value_range": (-1.0, 1.0), "mean": (0.0,) * 3, "std": (1.0,) * 3}, lambda x: (x - 127.5) / 127.5),
        ({"value_range": (0.0, 255.0), "mean": (127.0,) * 3, "std": (128.0,) * 3}, lambda x: (x - 127) / 128),
    ],
)
def test_foreign_weights_see_blue_first_and_their_range(options, expected):
    image = picture(5, 6)
    chosen = Preprocessing(order="bgr", **options)
    torch.testing.assert_close(chosen.normalize(image)[0], expected(image[2].float()), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(chosen.denormalize(chosen.normalize(image)), image.float() / 255, atol=1e-6, rtol=1e-5)


def test_fill_is_the_mean_in_colours_of_the_file():
    assert Preprocessing().fill.tolist() == [124, 116, 104]
    caffe = Preprocessing(order="bgr", value_range=(0.0, 255.0), mean=(104.0, 116.0, 124.0), std=(1.0,) * 3)
    assert caffe.fill.tolist() == [124, 116, 104]
    assert Preprocessing(channels=1, value_range=(-1.0, 1.0), mean=(0.0,), std=(1.0,)).fill.tolist() == [128]


def test_each_image_is_brought_to_zero_mean_and_unit_deviation_by_what_is_no_padding():
    chosen = Preprocessing(normalization="image", multiple=8)
    batch, valid = chosen.collate([picture(20, 9), picture(7, 30) // 4])
    normal = chosen.normalize(batch, valid)
    assert normal.shape == (2, 3, 24, 32)
    for one, (_, _, right, bottom) in zip(normal, valid.int().tolist(), strict=True):
        shown = one[:, :bottom, :right]
        assert abs(float(shown.mean())) < 1e-5
        assert float(shown.square().mean()) == pytest.approx(1, abs=1e-4)
    assert chosen.normalize(torch.full((3, 4, 4), 9, dtype=torch.uint8)).abs().max() < 1e-3


@pytest.mark.parametrize("size_hw", [(1, 1000), (1000, 1)])
def test_thin_image_is_normalised_by_the_pixels_nearest_to_it(size_hw):
    chosen = Preprocessing(size_hw=(64, 64), rule="fit", normalization="image")
    image = torch.arange(1000).remainder(256).to(torch.uint8).reshape(1, *size_hw).expand(3, -1, -1)
    batch, valid = chosen.collate([image])
    normal = chosen.normalize(batch, valid)
    shown = normal[0, :, Layout(valid, valid, (64, 64)).is_valid()[0]]
    assert shown.shape == (3, 64)
    assert float(shown.mean()) == pytest.approx(0, abs=1e-4)
    assert float(shown.square().mean()) == pytest.approx(1, abs=1e-3)


def test_part_of_an_image_is_normalised_as_the_whole_of_it():
    image = picture(20, 9)[None]
    chosen = Preprocessing(normalization="image")
    part = chosen.fixed(image).normalize(image[..., 3:9, 2:])
    assert torch.equal(part, chosen.normalize(image)[..., 3:9, 2:])
    assert Preprocessing().fixed(image) == Preprocessing()


def test_mean_image_is_taken_from_each_location():
    images = torch.stack([picture(6, 5, seed=i) for i in range(50)])
    mean = (images.float() / 255).mean(0)
    chosen = Preprocessing(
        size_hw=(6, 5), normalization="location", mean_image=mean_image.pack(mean), std=(1.0,) * 3, multiple=4
    )
    chosen = Preprocessing.from_json(chosen.to_json())
    normal = chosen.normalize(images)
    assert normal.shape == (50, 3, 8, 8)
    assert normal[..., :6, :5].mean(0).abs().max() < 1e-5
    torch.testing.assert_close(normal[0, :, :6, :5], images[0] / 255 - mean)
    with pytest.raises(ValueError, match=r"mean image is \(6, 5\) and images are \(6, 6\)"):
        chosen.normalize(picture(6, 6))


def test_mean_image_is_read_from_its_file_and_refused_by_name(tmp_path):
    path = tmp_path / "mean.npy"
    mean = np.random.default_rng(0).random((3, 4, 5))
    np.save(path, mean)
    text = mean_image.read(path, (3, 4, 5))
    assert np.allclose(np.frombuffer(base64.b64decode(text), "<f4").reshape(3, 4, 5), mean)
    with pytest.raises(DataError, match=r"holds \(3, 4, 5\); expected numbers of the shape \(3, 5, 4\)"):
        mean_image.read(path, (3, 5, 4))
    np.save(path, np.full((3, 4, 5), np.nan))
    with pytest.raises(DataError, match="not finite"):
        mean_image.read(path, (3, 4, 5))
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match=r"mean\.npy cannot be read"):
        mean_image.read(path, (3, 4, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "squeeze"}, "rule is 'squeeze'; expected one of stretch, cover, fit"),
        ({"order": "gbr"}, "order is 'gbr'"),
        ({"multiple": 0}, "multiple is 0"),
        ({"value_range": (1.0, 1.0)}, "low below high"),
        ({"normalization": "location"}, "need one another"),
        ({"normalization": "location", "mean_image": "AAAA"}, "set size_hw"),
        ({"normalization": "location", "mean_image": "AAAAAA==", "size_hw": (2, 2)}, "has 1 values where .* has 12"),
    ],
)
def test_values_that_make_no_preprocessing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**options)


def test_preprocessing_comes_back_from_json_as_it_was():
    chosen = Preprocessing(size_hw=(4, 6), rule="cover", multiple=8, order="bgr", value_range=(0.0, 255.0))
    assert Preprocessing.from_json(chosen.to_json()) == chosen


SHORTENED = Preprocessing(shorter=60, longest=100, multiple=32)


def shapes(count: int) -> list[tuple[int, int]]:
    generator = torch.Generator().manual_seed(0)
    return [(int(h), int(w)) for h, w in torch.randint(1, 200, (count, 2), generator=generator)]


@pytest.mark.parametrize(("shorter", "longest"), [(60, 100), (33, 77)])
def test_shorter_side_gets_the_size_that_torchvision_gives_it(shorter, longest):
    theirs = GeneralizedRCNNTransform(shorter, longest, [0.0] * 3, [1.0] * 3)
    ours = Preprocessing(shorter=shorter, longest=longest, multiple=32)
    for height, width in shapes(50):
        if longest / max(height, width) * min(height, width) < 1:
            continue  # torchvision makes no image of it
        box = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
        images, targets = theirs([torch.zeros(3, height, width)], [{"boxes": box}])
        layout = ours.layout((height, width))
        right, bottom = layout.valid_xyxy[0, 2:].int().tolist()
        assert (bottom, right) == images.image_sizes[0]
        assert layout.input_hw == tuple(images.tensors.shape[-2:])
        assert torch.allclose(layout.boxes_to_input([box])[0], targets[0]["boxes"], atol=1e-4)
        assert ours.resize(torch.zeros(3, height, width, dtype=torch.uint8)).shape[-2:] == layout.input_hw


def test_strip_keeps_one_pixel_of_its_shorter_side():
    assert SHORTENED.boxes(torch.tensor([[1, 5000]])).tolist() == [[0, 0, 100, 1]]
    assert SHORTENED.resize(picture(1, 5000)).shape == (3, 32, 128)


def test_shortened_image_is_the_plain_resize_and_all_else_the_mean_colour():
    images = [picture(90, 120), picture(50, 200), picture(50, 61)]
    sizes = [(60, 80), (25, 100), (60, 73)]
    batch, valid = SHORTENED.collate(images)
    assert batch.shape == (3, 3, 64, 128)
    assert valid.tolist() == [[0, 0, width, height] for height, width in sizes]
    for image, one, (height, width) in zip(images, batch, sizes, strict=True):
        assert torch.equal(one[:, :height, :width], resize_to(image, (height, width)))
        for rest in (one[:, height:], one[:, :, width:]):
            assert rest.eq(torch.tensor([124, 116, 104])[:, None, None]).all()
    assert torch.equal(SHORTENED.resize(images[0]), batch[0, :, :, :96])
    assert SHORTENED.normalize(batch).shape == batch.shape


def test_shortened_images_are_mapped_as_they_are_resized():
    for whole in (False, True):
        maps, extent = SHORTENED.maps(torch.tensor([[90, 120], [50, 200]]), whole=whole)
        assert extent.tolist() == [[60, 80], [25, 100]]
        assert (maps @ torch.tensor([80.0, 60.0, 1.0], dtype=torch.float64))[0, :2].tolist() == [120, 90]
    assert not SHORTENED.keeps_size
    assert Preprocessing().keeps_size
    assert not Preprocessing(size_hw=(4, 4)).keeps_size
    assert Preprocessing.from_json(SHORTENED.to_json()) == SHORTENED


@pytest.mark.parametrize(
    "options",
    [{"shorter": 60}, {"longest": 60}, {"shorter": 61, "longest": 60}, {"shorter": 6, "longest": 9, "size_hw": (6, 9)}],
)
def test_sides_that_contradict_one_another_are_refused(options):
    with pytest.raises(ValueError, match=r"expected the first two, shorter at most longest, or size_hw"):
        Preprocessing(**options)
