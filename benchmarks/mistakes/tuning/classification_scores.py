"""Mistakes of classification in metric and prediction."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated
from benchmarks.mistakes.tuning.healthy_classes import (
    BERRIES,
    BERRY_MEAN,
    BERRY_STD,
    DIGITS,
    SCARCE,
    TEXTURES,
    berries_run,
    digits_run,
    scarce_run,
    textures_run,
)
from benchmarks.mistakes.tuning.pieces import KARPATHY, changed, loader, normalizer, planted


def softmax_over_the_batch(folders: Folders) -> Plain:
    """Probabilities over axis 0 before the highest is taken."""

    def metric(outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.softmax(0).argmax(1) == labels).float().mean()

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            scores = [float(metric(model(images), labels)) * len(labels) for images, labels in val]
        return sum(scores) / len(val.dataset)

    return changed(textures_run(folders), metric=metric, evaluate=evaluate)


def mean_of_batches(folders: Folders) -> Plain:
    """The mean over batches of their accuracy, the last of which is small."""

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            scores = [(model(images).argmax(1) == labels).float().mean() for images, labels in val]
        return float(torch.stack(scores).mean())

    images, labels = generated.textures(129, 2)
    order = labels.argsort(stable=True)
    val = loader(TensorDataset(images[order], labels[order]), 32)
    run = changed(textures_run(folders), evaluate=evaluate, val=val)
    return Plain({key: value for key, value in run.arguments.items() if key != "metric"})


def evaluated_in_training_mode(folders: Folders) -> Plain:
    """Validation without eval()."""

    def evaluate(model: nn.Module, val: Any) -> float:
        model.train()
        right = total = 0
        with torch.no_grad():
            for images, labels in val:
                right += int((model(images).argmax(1) == labels).sum())
                total += len(labels)
        return right / total

    return changed(digits_run(folders), evaluate=evaluate)


def accuracy_of_the_frequent(folders: Folders) -> Plain:
    """Accuracy over a validation set of which 97 % is one class."""
    images, labels = generated.textures(200, 6, shares=(0.0, 0.0, 0.97, 0.03))
    return changed(scarce_run(folders), val=loader(TensorDataset(images, labels - 2), 50))


def predict_without_normalise(folders: Folders) -> Plain:
    """The program that asks divides by 255 and forgets mean and deviation."""
    run = berries_run(folders)
    model = run.arguments["model"]
    plain = normalizer((0, 0, 0), (1, 1, 1))

    def predict(picture: Any) -> str:
        model.eval()
        with torch.no_grad():
            return generated.BERRIES[int(model(plain(picture)[None]).argmax(1))]

    return changed(run, predict=predict)


def classes_by_hand(folders: Folders) -> Plain:
    """A list of names in the program that asks, not in the order of the training."""
    run = berries_run(folders)
    model, names = run.arguments["model"], ("plum", "blueberry", "seabuckthorn", "lingonberry")
    prepare = normalizer(BERRY_MEAN, BERRY_STD)

    def predict(picture: Any) -> str:
        model.eval()
        with torch.no_grad():
            return names[int(model(prepare(picture)[None]).argmax(1))]

    return changed(run, predict=predict)


def predict_in_training_mode(folders: Folders) -> Plain:
    """Nothing switches to evaluation: a batch of one normalises itself, and its statistics are kept."""
    run = berries_run(folders)
    model = run.arguments["model"]
    prepare = normalizer(BERRY_MEAN, BERRY_STD)

    def predict(picture: Any) -> Tensor:
        model.train()
        with torch.no_grad():
            return model(prepare(picture)[None]).softmax(1)[0]

    return changed(run, predict=predict)


def predict_by_a_copy(folders: Folders) -> Plain:
    """The program keeps a copy of the network from before the training."""
    run = berries_run(folders)
    served = copy.deepcopy(run.arguments["model"]).eval()
    prepare = normalizer(BERRY_MEAN, BERRY_STD)

    def predict(picture: Any) -> str:
        with torch.no_grad():
            return generated.BERRIES[int(served(prepare(picture)[None]).argmax(1))]

    return changed(run, predict=predict)


CASES = (
    planted(
        TEXTURES,
        "softmax_over_the_batch",
        "metric.wrong_axis",
        softmax_over_the_batch,
        "mrdbourke/pytorch-deep-learning#163",
    ),
    planted(
        TEXTURES,
        "mean_of_batch_accuracies",
        "metric.averaged_batches",
        mean_of_batches,
        "udacity/deep-learning-v2-pytorch#74",
    ),
    planted(DIGITS, "validated_in_training_mode", "metric.train_mode", evaluated_in_training_mode, KARPATHY),
    planted(
        SCARCE,
        "accuracy_of_a_frequent_class",
        "metric.rewards_constant",
        accuracy_of_the_frequent,
        "accuracy is the default metric of every tutorial",
    ),
    planted(
        BERRIES,
        "predict_forgets_to_normalise",
        "predict.preprocessing",
        predict_without_normalise,
        "ifzhang/FairMOT#367",
    ),
    planted(BERRIES, "names_in_another_order", "predict.class_order", classes_by_hand, "udacity/dog-project#4"),
    planted(BERRIES, "predict_in_training_mode", "predict.mode", predict_in_training_mode, "mahmoodlab/CLAM#314"),
    planted(
        BERRIES,
        "predict_by_an_old_copy",
        "predict.differs",
        predict_by_a_copy,
        "an average of the weights that is copied and never updated",
    ),
)
