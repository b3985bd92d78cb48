"""Promises of the scenes that classifiers are tried on."""

import json

import pytest
import torch

from benchmarks import dense_scenes as benchmark
from tests.bound import bind
from unpool import models
from unpool.models.weights import save_weights
from unpool.ops.preprocessing import Preprocessing
from unpool.types import IGNORE

CLASSES = tuple("abcdefghij")


class Pictures:
    """Ten classes; a picture of class k has the value 20 k + 10."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        label = index % 10
        return {"image": torch.full((3, 32, 32), 20 * label + 10).byte(), "label": torch.tensor(label)}


@pytest.mark.parametrize("fill", benchmark.FILLS)
def test_scene_holds_each_picture_where_its_truth_says(fill):
    generator = torch.Generator().manual_seed(0)
    scene = benchmark.compose(Pictures(), range(24), generator, fill=fill, grey=(0.5, 0.5, 0.5))
    assert scene.image.shape == (3, 192, 288)
    known = scene.truth != IGNORE
    assert int(known.sum()) == 24 * 32 * 32
    assert torch.equal(scene.image[0][known].long(), 20 * scene.truth[known] + 10)
    assert len({(top % 48, left % 48) for top, left, _ in scene.places}) > 10
    if fill == "grey":
        assert scene.image[0][~known].unique().tolist() == [128]


def test_right_mask_is_right_and_a_shifted_one_is_not():
    scene = benchmark.compose(Pictures(), range(24), torch.Generator().manual_seed(0), fill="grey", grey=(0.5,) * 3)
    assert [float(found.float().mean()) for found in benchmark.right(scene, scene.truth)] == [1, 1]
    centres, pixels = benchmark.right(scene, scene.truth.roll(8, 0))
    assert bool(centres.all())
    assert float(pixels.float().mean()) == pytest.approx(0.75)


def test_crops_are_scored_in_their_order():
    x = torch.arange(40 * 44.0).view(1, 1, 40, 44)
    scores = benchmark.slide(lambda crops: crops[:, 0, 0, :1], x, 4)
    assert torch.equal(scores[0], x[0, 0, :9:4, :13:4])


def test_runs_are_measured_and_drawn(tmp_path, monkeypatch):
    torch.manual_seed(0)
    save_weights(tmp_path / "model.safetensors", models.build("vgg11_bn", num_classes=10, width=1))
    network = {"name": "vgg11_bn", "backbone": None, "num_classes": 10, "in_channels": 3, "options": {"width": 1}}
    info = {"classes": list(CLASSES), "palette": [], "ignore": None, "keypoints": [], "flip_pairs": []}
    config = {"format": 1, "network": network, "task": {"name": "classification", "options": {}}, "custom": []}
    config |= {"preprocessing": Preprocessing().to_json(), "info": info}
    (tmp_path / "config.json").write_text(json.dumps(config))
    bind(tmp_path)
    monkeypatch.setattr(benchmark, "Cifar", lambda root, split: Pictures())
    monkeypatch.setattr(benchmark, "GRID", (2, 3))
    path = tmp_path / "a.json"
    given = [str(tmp_path), "--scenes", "1", "--output_stride", "16", "-o", str(tmp_path / "out"), "--json", str(path)]
    assert benchmark.main(given) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert len(result["rows"]) == 4
    assert set(result["details"][tmp_path.name]["grey"]["centres"]) == set(benchmark.WAYS)
    assert (tmp_path / "out" / f"{tmp_path.name}.png").is_file()
