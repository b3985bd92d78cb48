"""The baseline before learning: gradients that a linear classifier tells apart, beside the score of a run."""

import pytest
import torch

from unpool.errors import DataError, EnvironmentFault
from unpool.task import TrainingSetup
from unpool.tasks import Classification
from unpool.tasks.hog_baseline import hog_accuracy, hog_features
from unpool.types import DataInfo

INFO = DataInfo(classes=("lying", "standing"))


class Stripes(list):
    """Images of stripes that lie or stand, of any colours."""

    def targets(self, index):
        return self[index]


def stripes(count, seed):
    generator, samples = torch.Generator().manual_seed(seed), Stripes()
    for i in range(count):
        pattern = (torch.arange(32) // 4 % 2 * 90).expand(32, 32)
        shade = torch.randint(0, 160, (3, 1, 1), generator=generator)
        samples.append({"image": ((pattern if i % 2 else pattern.T) + shade).byte(), "label": torch.tensor(i % 2)})
    return samples


def test_stripes_that_lie_and_stand_are_told_apart_whatever_their_colour():
    pytest.importorskip("skimage")
    assert hog_features(stripes(1, 0)[0]["image"]).shape == (1764,)
    assert hog_accuracy(stripes(20, 0), stripes(10, 1), 2) == (1.0, 20)


def test_score_is_that_on_the_images_that_were_not_learned_from():
    pytest.importorskip("skimage")
    wrong = Stripes({**sample, "label": 1 - sample["label"]} for sample in stripes(4, 1))
    assert hog_accuracy(stripes(8, 0), wrong, 2) == (0.0, 8)


def test_baseline_that_is_asked_for_says_what_it_is():
    pytest.importorskip("skimage")
    task = Classification(INFO, baseline="hog")
    baseline = task.baseline(stripes(20, 0), stripes(10, 1), {})
    assert (baseline.metric, baseline.value, task.asks_baseline) == ("top1", 1.0, True)
    assert "Histograms of oriented gradients" in baseline.about
    assert not Classification(INFO).asks_baseline


def test_missing_package_is_told_before_training_and_never_asked_for_without(monkeypatch):
    monkeypatch.setattr("unpool.tasks.hog_baseline.find_spec", lambda name: None)
    task = Classification(INFO, baseline="hog")  # as a trained run is loaded
    with pytest.raises(EnvironmentFault, match="needs scikit-image"):
        task.warnings(TrainingSetup((), (), (), None, keeps_scale=True, sizes_hw=()))


class Damaged(Stripes):
    """The first images cannot be read."""

    def __getitem__(self, index):
        if index < 2:
            raise DataError("damaged")
        return super().__getitem__(index)


def test_images_that_cannot_be_read_are_left_out_and_one_class_has_no_baseline(caplog):
    pytest.importorskip("skimage")
    assert hog_accuracy(Damaged(stripes(12, 0)), stripes(6, 1), 2) == (1.0, 10)
    one = Damaged(stripes(4, 0)[::2] * 2)
    assert Classification(INFO, baseline="hog").baseline(one, stripes(2, 1), {}) is None
    assert "all training images that can be read are of one class" in caplog.text


def test_images_of_a_large_set_are_drawn_whatever_their_order(monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr("unpool.tasks.hog_baseline.MOST", 20)
    assert hog_accuracy(stripes(40, 0), stripes(4, 1), 2) == (1.0, 20)  # every second one would be of one class
