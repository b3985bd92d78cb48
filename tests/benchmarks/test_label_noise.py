"""Wrong labels are planted as many as asked for, and lists are judged by them."""

import gzip

import numpy as np
import pytest
import torch

from benchmarks.label_noise import judged_list, mnist, noisy, temperature
from unpool.data.readers.mnist import Mnist


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_as_many_labels_are_changed_as_asked_for(share):
    labels = np.arange(1000, dtype=np.uint8) % 10
    changed, is_wrong = noisy(labels, share)
    assert int(is_wrong.sum()) == round(1000 * share)
    assert ((changed != labels) == is_wrong.numpy()).all()
    assert changed.max() < 10
    assert (changed == noisy(labels, share)[0]).all()


def test_a_set_with_wrong_labels_is_read_as_planted(tmp_path):
    source, folder = tmp_path / "mnist", tmp_path / "planted"
    source.mkdir(), folder.mkdir()
    labels = (np.arange(200) % 10).astype(np.uint8)
    for stem in ("train", "t10k"):
        images = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (200, 28, 28)) + bytes(200 * 784)
        (source / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        written = bytes([0, 0, 8, 1]) + (200).to_bytes(4, "big") + labels.tobytes()
        (source / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(written))
    planted = mnist(tmp_path, 0.1, folder)
    reader = Mnist(folder, "train")
    read = np.array([int(reader.targets(i)["label"]) for i in range(200)])
    assert ((read != labels) == planted.is_wrong.numpy()).all()
    assert int(planted.is_wrong.sum()) == 20


def test_recall_and_precision_are_of_the_list():
    is_wrong = torch.tensor([True, False, True, False, True])
    assert judged_list(torch.tensor([0, 1]), is_wrong) == {"listed": 2, "recall": 1 / 3, "precision": 0.5}
    assert judged_list(torch.tensor([], dtype=torch.long), is_wrong & False)["recall"] is None


def test_the_temperature_makes_scores_as_sure_as_they_are_right():
    scores, labels = torch.eye(4).repeat(50, 1), torch.arange(4).repeat(50)
    noisy_labels = torch.where(torch.arange(200) % 5 == 0, (labels + 1) % 4, labels)
    assert temperature(scores, noisy_labels) < temperature(scores, labels)
