"""names.txt, which is read where no network may be imported."""

from pathlib import Path

import pytest

from unpool.models import AREAS, MODELS, area_of
from unpool.models.pretrained import words_of
from unpool.network_names import FILE, OUTPUTS, listed_networks, not_a_run

HOW = "write it anew: .venv/bin/python -m tests.models.test_names"


def lines() -> list[str]:
    return [" ".join([name, area_of(name), row.gives, *words_of(name)]) for name, row in MODELS.items()]


def test_list_is_the_tables():
    assert FILE.read_text().splitlines() == lines(), HOW


def test_every_network_is_of_one_area():
    assert sum(map(len, AREAS.values())) == len(MODELS)
    assert {listed.task for listed in listed_networks().values()} == set(AREAS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("deeplabv3_resnet50", "add --weights voc"),
        ("timm/resnet18", "add --weights imagenet"),
        ("hourglass1", "no weights of it are published"),
        ("runs/x", "no run directory runs/x"),
    ],
)
def test_name_in_place_of_a_run_says_what_is_missing(name, says):
    assert says in str(not_a_run(Path(name)))


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("scores", {"resnet18", "googlenet_aux", "mlp"}),
        ("coordinates", {"deeppose", "deeppose_grouped", "deeppose3", "joint_regression"}),
        ("scores_and_boxes", {"localizer", "localizer_per_class", "alexnet_localizer_per_class"}),
        ("maps", {"unet", "unet_valid", "fcn_resnet50_aux", "dncnn_s", "fcgn"}),
        ("heatmaps", {"hourglass1", "cpm", "simple_baselines"}),
        ("fields", {"openpose", "openpose_mpi"}),
        ("boxes_and_masks", {"maskrcnn", "maskrcnn_resnet50_fpn"}),
        ("boxes_and_joints", {"keypointrcnn", "keypointrcnn_resnet50_fpn"}),
        ("boxes", {"fasterrcnn", "fasterrcnn_vgg16", "ssd300", "retinanet", "yolo448"}),
        ("words", {"caption_rnn", "caption_lstm", "caption_attention"}),
        ("strings", {"crnn", "position_reader"}),
    ],
)
def test_kind_of_output_follows_from_the_shapes(kind, some):
    assert some <= {name for name, row in MODELS.items() if row.gives == kind}
    assert kind in OUTPUTS


if __name__ == "__main__":
    FILE.write_text("\n".join([*lines(), ""]))
