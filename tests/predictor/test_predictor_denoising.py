import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.bound import bind
from unpool import models
from unpool.errors import ModelFileError, RecipeError
from unpool.models.weights import save_weights
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor, load, write_predictions
from unpool.tasks.denoising import Denoising
from unpool.types import DataInfo

GREY = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return models.build("dncnn_s", width=4).eval()


def predictor(network, preprocessing=GREY, **options):
    return Predictor(network, preprocessing, DataInfo(), Denoising(DataInfo(), preprocessing=preprocessing), **options)


def photograph(height, width, channels=3):
    return torch.randint(
        0, 256, (channels, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def test_predictor_gives_the_clean_image_at_the_size_of_the_photograph(network):
    image = photograph(31, 47, 1)
    (answer,) = predictor(network)(image)
    expected = network(image[None] / 255)[0].clamp(0, 1)
    assert torch.allclose(answer["clean"], expected, atol=1e-6)


def test_predictor_gives_the_same_in_tiles(network):
    image = photograph(200, 330, 1)
    tiled = predictor(network, limit=100 * 100, tile=128, overlap=64).predict(image)
    assert torch.allclose(tiled["clean"], predictor(network).predict(image)["clean"], atol=1e-5)


def test_an_autoencoder_of_one_size_answers_about_no_other_and_says_so(tmp_path):
    asked = predictor(models.build("denoising_autoencoder", width=4))
    for name, height, width in (("a", 50, 61), ("b", 28, 28)):
        Image.fromarray(photograph(height, width, 1)[0].numpy()).save(tmp_path / f"{name}.png")
    large, small = write_predictions(asked, [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert re.search(r"\(50, 61\) \(H, W\) and this autoencoder takes \(28, 28\) only", large["error"])
    assert small["clean"] == "b_clean.png"


def test_denoised_files_are_written_beside_their_view(network, tmp_path):
    Image.fromarray(photograph(60, 100).permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    (record,) = write_predictions(predictor(network), [tmp_path / "a.png"], tmp_path / "out")
    assert record == {
        "image": str(tmp_path / "a.png"),
        "size_hw": [60, 100],
        "clean": "a_clean.png",
        "notes": ["colour image, reduced to grey, which is all that the network knows"],
        "view": "a_view.jpg",
    }
    written = np.asarray(Image.open(tmp_path / "out" / "a_clean.png"))
    grey = torch.from_numpy(np.array(Image.open(tmp_path / "a.png").convert("L")))[None]
    expected = (predictor(network).predict(grey)["clean"][0] * 255).round()
    assert np.array_equal(written, expected.numpy().astype(np.uint8))
    with Image.open(tmp_path / "out" / "a_view.jpg") as view:
        assert view.width * 60 == 3 * 100 * view.height
    json.loads((tmp_path / "out" / "predictions.json").read_text())
    with pytest.raises(RecipeError, match="exists already"):
        write_predictions(predictor(network), [tmp_path / "a.png"], tmp_path / "out")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_predictor_refuses_answers_that_are_not_finite(network, value):
    network.register_forward_hook(lambda module, seen, answer: answer + value)
    with pytest.raises(ModelFileError, match="not finite"):
        predictor(network).predict(photograph(9, 9, 1))


def config_of(**changes):
    options = {"name": "denoising", "options": {"loss": "mae", "residual": True, **changes}}
    network = {"name": "dncnn_s", "backbone": None, "num_classes": 1, "in_channels": 1, "options": {"width": 4}}
    return {
        "format": 1,
        "network": network,
        "task": options,
        "preprocessing": GREY.to_json(),
        "info": DataInfo().to_json(),
        "custom": [],
    }


def test_a_run_is_loaded_with_the_options_of_its_task(network, tmp_path):
    save_weights(tmp_path / "model.safetensors", network)
    (tmp_path / "config.json").write_text(json.dumps(config_of()))
    bind(tmp_path)
    loaded = load(tmp_path, device="cpu")
    assert isinstance(loaded.task, Denoising)
    assert (loaded.task.loss_kind, loaded.task.residual) == ("mae", True)
    assert loaded.task.preprocessing == GREY
    (tmp_path / "config.json").write_text(json.dumps(config_of(loss="l2")))
    bind(tmp_path)
    with pytest.raises(ModelFileError, match=r"damaged: task\.loss is 'l2'"):
        load(tmp_path, device="cpu")


def test_a_strip_of_one_row_has_a_view_as_well(network, tmp_path):
    Image.fromarray(photograph(1, 900, 1)[0].numpy()).save(tmp_path / "strip.png")
    (record,) = write_predictions(predictor(network), [tmp_path / "strip.png"], tmp_path / "out")
    with Image.open(tmp_path / "out" / record["view"]) as view:
        assert view.size == (3 * 3600, 4)


def test_what_a_denoised_image_lost_of_its_file_is_told(network, tmp_path):
    grey = photograph(20, 30, 1)[0].numpy()
    Image.fromarray(grey).save(tmp_path / "plain.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.stack([grey, grey], axis=2), "LA").save(tmp_path / "alpha.png")
    Image.fromarray(photograph(20, 30).permute(1, 2, 0).numpy()).save(tmp_path / "colour.png")
    paths = [tmp_path / f"{name}.png" for name in ("plain", "deep", "alpha", "colour")]
    records = write_predictions(predictor(network), paths, tmp_path / "out")
    listed = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert [one["notes"] for one in listed] == [record["notes"] for record in records]
    assert records[0]["notes"] == []
    for record, word in zip(records[1:], ("16-bit", "alpha", "colour"), strict=True):
        assert len(record["notes"]) == (2 if word == "alpha" else 1)  # alpha, and the colours hidden under it
        assert word in record["notes"][0]
