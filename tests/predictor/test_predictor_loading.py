import json

import pytest
import torch

from tests.bound import bind
from unpool import models
from unpool.errors import ModelFileError
from unpool.models.weights import save_weights
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import load
from unpool.types import DataInfo

INFO = DataInfo(classes=("a", "b", "c"))
PREPROCESSING = Preprocessing(size_hw=(28, 28), channels=1, mean=(0.5,), std=(0.25,))


def config_of(**changes):
    config = {
        "format": 1,
        "network": {
            "name": "mlp",
            "backbone": None,
            "num_classes": 3,
            "in_channels": 1,
            "options": {"widths": [8, 8]},
        },
        "task": {"name": "classification", "options": {}},
        "preprocessing": PREPROCESSING.to_json(),
        "info": INFO.to_json(),
        "custom": [],
    }
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = config
        for section in sections:
            place = place[section]
        place[key] = value
    return config


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "model.safetensors", models.build("mlp", num_classes=3, in_channels=1, widths=[8, 8]))
    (tmp_path / "config.json").write_text(json.dumps(config_of()))
    return bind(tmp_path)


def test_loaded_run_answers_as_the_network_that_was_saved(run):
    torch.manual_seed(0)
    model = models.build("mlp", num_classes=3, in_channels=1, widths=[8, 8]).eval()
    image = torch.randint(0, 256, (1, 40, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model(PREPROCESSING.normalize(PREPROCESSING.resize(image))[None]).softmax(1)[0]
    (answer,) = load(run, device="cpu")(image)
    assert answer["label"] == int(expected.argmax())
    assert answer["score"] == pytest.approx(expected.max().item(), rel=1e-5)


def test_loading_leaves_the_random_generator_alone(run):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(run, device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_best_weights_are_asked_for_by_name_and_missed_by_name(run):
    with pytest.raises(ModelFileError, match=r"holds no best\.safetensors"):
        load(run, "best", device="cpu")
    other = models.build("mlp", num_classes=3, in_channels=1, widths=[8, 8])
    save_weights(run / "best.safetensors", other)
    bind(run)
    loaded = load(run, "best", device="cpu").model
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, r"newer version of Unpool \(format 2, this one reads 1\): update Unpool"),
        ({"format": "1"}, "has format '1' and should have 1: it is damaged"),
        ({"network__name": "__import__"}, "no network is called '__import__'"),
        ({"network__num_classes": 4}, "4 outputs and its task 3"),
        ({"network__in_channels": 3}, "takes 3 channels and the preprocessing gives 1"),
        ({"network__options": {"widths": [10**9]}}, "1000000000; none is above"),
        ({"network__options": {"depth_of_all": 3}}, "depth_of_all"),
        ({"network__options": {"widths": [-4]}}, "cannot be built"),
        ({"network__options": {"widths": [16000, 16000]}}, "parameters; config and weights are of different networks"),
        ({"network__options": {"widths": [8, 9]}}, "net|layer|shape|weight"),
        ({"network": []}, "damaged"),
        ({"network__name": 5}, "network.name must be a text and network.options an object"),
        ({"network__options": []}, "network.name must be a text and network.options an object"),
        ({"task__name": "telepathy"}, "task 'telepathy'"),
        ({"preprocessing": {"size_hw": None}}, "lacks 'rule'; nothing is guessed"),
        ({"info": {}}, "lacks 'classes'"),
    ],
)
def test_config_that_cannot_be_right_is_refused_with_the_reason(run, changes, says):
    (run / "config.json").write_text(json.dumps(config_of(**changes)))
    bind(run)
    with pytest.raises(ModelFileError, match=says):
        load(run, device="cpu")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_config_that_is_no_json_object_is_refused(run, content):
    (run / "config.json").write_bytes(content)
    bind(run)
    with pytest.raises(ModelFileError, match=r"config\.json"):
        load(run, device="cpu")


def test_missing_run_or_config_is_named(run):
    with pytest.raises(ModelFileError, match=r"no run directory .*nowhere"):
        load(run / "nowhere")
    (run / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"no file .*config\.json"):
        load(run)


class Masked(torch.nn.Module):
    """A classifier with a mask of attention among its tensors."""

    def __init__(self, *, end=-torch.inf):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(28 * 28, 3))
        self.register_buffer("mask", torch.tensor([0.0, end]))

    def forward(self, image):
        return self.net(image)


def test_infinity_that_a_network_of_ones_own_holds_itself_is_no_fault_of_its_file(tmp_path):
    save_weights(tmp_path / "model.safetensors", Masked())
    (tmp_path / "config.json").write_text(json.dumps(config_of(custom=["model"])))
    run = bind(tmp_path)
    assert load(run, device="cpu", model=Masked()).model.mask.tolist() == [0.0, -torch.inf]
    with pytest.raises(ModelFileError, match="not finite in mask"):
        load(run, device="cpu", model=Masked(end=0.0))
