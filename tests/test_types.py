import pytest
import torch

from unpool.types import DataInfo, Preprocessing, mirror_index


def test_normalised_image_has_zero_mean_and_unit_deviation():
    image = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values = image.float().transpose(0, 1).flatten(1) / 255
    chosen = Preprocessing(mean=tuple(values.mean(1).tolist()), std=tuple(values.std(1).tolist()))
    normal = chosen.normalize(image).transpose(0, 1).flatten(1)
    torch.testing.assert_close(normal.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(1), torch.ones(3), atol=1e-4, rtol=0)


def test_padding_mirrors_up_to_the_multiple():
    image = torch.arange(15, dtype=torch.uint8).view(1, 3, 5)
    padded = Preprocessing(channels=1, mean=(0.0,), std=(1 / 255,), multiple=4).normalize(image)
    assert padded.shape == (1, 4, 8)
    assert padded[0, 0].round().tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert padded[0, :, 0].round().tolist() == [0, 5, 10, 5]


@pytest.mark.parametrize(("size", "before", "after"), [(3, 0, 2), (5, 4, 1), (3, 7, 8), (2, 3, 3), (1, 2, 4)])
def test_mirror_index_walks_to_and_fro(size, before, after):
    expected = []
    for place in range(-before, size + after):
        while not 0 <= place < size:
            place = 0 if size == 1 else -place if place < 0 else 2 * (size - 1) - place
        expected.append(place)
    assert mirror_index(size, before, after, device=torch.device("cpu")).tolist() == expected


def test_cover_takes_the_centre():
    image = torch.zeros(3, 8, 16, dtype=torch.uint8)
    image[..., 8:] = 200
    seen = Preprocessing(size_hw=(4, 4), rule="cover", crop=1.0).resize(image)
    assert seen.shape == (3, 4, 4)
    assert int(seen[0, 0, 0]) < 100 < int(seen[0, 0, -1])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 3)])
def test_smallest_images_survive_every_rule(size):
    image = torch.full((3, *size), 7, dtype=torch.uint8)
    for rule in ("stretch", "cover"):
        seen = Preprocessing(size_hw=(4, 6), rule=rule, multiple=8).apply(image)
        assert seen.shape == (3, 8, 8)
        assert torch.isfinite(seen).all()


def test_records_come_back_from_json_as_they_were():
    info = DataInfo(classes=("no", "1e3"), palette=((1, 2, 3), (4, 5, 6)), ignore=11, flip_pairs=((0, 1),))
    seen = Preprocessing(size_hw=(4, 6), rule="cover", multiple=8)
    assert DataInfo.from_json(info.to_json()) == info
    assert Preprocessing.from_json(seen.to_json()) == seen
