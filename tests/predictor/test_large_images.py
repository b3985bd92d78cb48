"""Images above the limit of pixels: refused by default, read where asked for, and answered part by part."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.data.encoding import png
from unpool.cli.main import main
from unpool.data.image_file import Unusable, probe
from unpool.data.mask_file import probe_mask, read_stored
from unpool.data.mask_rule import find_reading
from unpool.errors import DataError
from unpool.ops import cutting
from unpool.ops.cutting import averaged, resize_to
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.predictor import Predictor
from unpool.tasks import build
from unpool.types import DataInfo, Decoding


class Local(nn.Module):
    """Sees three pixels around each."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 7, padding=3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image)


def predictor(preprocessing: Preprocessing = Preprocessing(), **options) -> Predictor:  # noqa: B008 - frozen
    info = DataInfo(classes=("a", "b", "c"), palette=((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    task = build("segmentation", info, options={}, preprocessing=preprocessing)
    return Predictor(Local(), preprocessing, info, task, **options)


def picture(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), np.uint8))


def test_limit_is_a_hundred_million_and_the_error_names_the_option():
    bomb = png(20000, 15000, depth=1, colour=0, rows=b"")
    expected = r"3e\+08 pixels; the limit is 1e\+08: .*data\.max_pixels=300000000 \(predict: --max-pixels 300000000\)"
    with pytest.raises(Unusable, match=expected):
        probe(bomb)
    assert probe(bomb, max_pixels=300_000_000).width == 20000
    with pytest.raises(Unusable, match=r"the limit is 3e\+08"):
        probe(bomb, max_pixels=299_999_999)


@pytest.mark.parametrize("form", ["png", "tif", "npy", "bmp"])
def test_limit_holds_for_images_and_masks_of_every_kind(form, tmp_path):
    path = tmp_path / f"mask.{form}"
    values = np.zeros((30, 40), np.uint8)
    if form == "npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    for read in (probe, probe_mask, read_stored):
        with pytest.raises(Unusable, match=r"is 40x30 = 1\.2e"):
            read(path, max_pixels=1199)
        read(path, max_pixels=1200)


def test_masks_above_the_limit_do_not_decide_how_a_set_is_read(tmp_path):
    image = Image.fromarray(np.zeros((30, 40), np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.save(tmp_path / "a.png")
    assert find_reading([tmp_path / "a.png"], [], {0: 0}, max_pixels=1200).colours
    assert not find_reading([tmp_path / "a.png"], [], {0: 0}, max_pixels=1199).colours


def test_predictor_refuses_a_file_above_its_limit_and_takes_one_at_it(tmp_path):
    Image.fromarray(picture(30, 40).permute(1, 2, 0).contiguous().numpy()).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"the limit is 1\.2e"):
        predictor(max_pixels=1199)(tmp_path / "a.png")
    assert predictor(max_pixels=1200)(tmp_path / "a.png")[0]["mask"].shape == (30, 40)


def test_weights_of_a_run_cannot_raise_the_limit():
    assert "max_pixels" not in Preprocessing().to_json()
    assert Preprocessing().decoding == Decoding()


def test_command_names_a_limit_that_is_none(capsys, tmp_path):
    assert main(["predict", str(tmp_path), "a.png", "-o", str(tmp_path / "out"), "--max-pixels", "0"]) == 2
    assert "--max-pixels is 0; expected a number of pixels" in capsys.readouterr().err


def test_tiles_give_the_classes_of_one_pass_where_the_network_sees_no_further_than_half_an_overlap():
    image = picture(300, 410)
    whole = predictor(limit=10**9).predict(image)
    tiled = predictor(limit=1, tile=64, overlap=6).predict(image)
    assert tiled["mask"].equal(whole["mask"])
    assert (tiled["score"] - whole["score"]).abs().max() < 1e-5
    narrow = predictor(limit=1, tile=64, overlap=4).predict(image)  # 2 pixels at each seam, of 3 that are seen
    differs = narrow["mask"] != whole["mask"]
    assert 0 < differs.float().mean() < 0.05


@pytest.mark.parametrize(("size", "shape"), [((40, 60), (300, 410)), ((64, 64), (90, 301)), ((500, 31), (300, 200))])
def test_large_image_is_resized_in_bands_within_one_level(size, shape, monkeypatch):
    image = picture(*shape)
    whole = resize_to(image, size)
    monkeypatch.setattr(cutting, "LARGE", 1000)
    monkeypatch.setattr(cutting, "BAND", 5000)
    made = []
    monkeypatch.setattr(cutting, "averaged", lambda *_: made.append(1) or averaged(*_))
    bands = resize_to(image, size)
    assert made == []
    assert bands.shape == whole.shape
    assert (bands.int() - whole.int()).abs().max() <= 1


def test_statistics_of_a_large_image_are_those_of_the_whole(monkeypatch):
    preprocessing = Preprocessing(normalization="image")
    image = picture(120, 90)[None]
    whole = preprocessing.fixed(image)
    monkeypatch.setattr(cutting, "LARGE", 1000)
    monkeypatch.setattr(cutting, "BAND", 1000)
    bands = preprocessing.fixed(image)
    assert bands.mean == pytest.approx(whole.mean, abs=1e-6)
    assert bands.std == pytest.approx(whole.std, abs=1e-6)


def test_deviation_of_a_large_image_of_one_colour_is_that_of_the_whole(monkeypatch):
    preprocessing = Preprocessing(normalization="image")
    image = torch.full((1, 3, 120, 90), 77, dtype=torch.uint8)
    whole = preprocessing.fixed(image)
    monkeypatch.setattr(cutting, "LARGE", 1000)
    monkeypatch.setattr(cutting, "BAND", 1000)
    assert preprocessing.fixed(image).std == pytest.approx(whole.std)
    assert min(whole.std) > 0
