"""What a case of the catch rate is: a healthy run, or a small change of one with the cause that it plants."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

CAUSES = Path(__file__).with_name("causes.txt")


class Folders(NamedTuple):
    """Where a case finds and makes its data.

    Attributes:
        scratch: empty, of this case alone.
        data: the folder of the public sets, as `--data` has it; None where there is none, and cases that need it are
            left out by name.
    """

    scratch: Path
    data: Path | None


class Plain(NamedTuple):
    """A run in plain PyTorch objects, with nothing of Unpool: what `unpool.check(**arguments)` gets.

    Attributes:
        arguments: by name:
            model: the module, as it is before the first step.
            train, val: iterables of batches that can be run again (a DataLoader, a list), or map-style data sets of
                single samples. A batch is a tuple (inputs, targets), or a dict with `image` and more.
            loss: `loss(outputs, targets)`; of dicts `loss(outputs, batch)`; a scalar, or a dict of scalars to add.
            optimizer: over the model's parameters.
            step: optional; `step(batch)` is the user's own training step with all that belongs to it (zeroing,
                backward, clipping, scaler, optimiser, schedule), returning the loss.
            forward: optional; `forward(model, batch)` returns the outputs where `model(inputs)` would not.
            schedule: optional; a torch scheduler over the optimiser. epochs: optional; how long the run is to be.
            augment: optional; `augment(image, target)` as the training set applies it to one sample.
            metric: optional; `metric(outputs, targets)` of a batch, or an object with update, compute and reset.
            evaluate: optional; `evaluate(model, val)` returns the score that the user reads.
            predict: optional; `predict(picture)` answers about one picture as the user's program will be asked:
                about a path where the validation set lists files (`samples` of an ImageFolder), else about what
                `val.raw(i)` returns where it has that, else about an image as validation yields it. Returns a class
                name, a class number, scores, a mask, or boxes.
            classes: optional; names by number.
            task: optional; classification, segmentation, denoising, pose, boxes, embedding, captions or regression,
                where targets and outputs do not say it.
    """

    arguments: Mapping[str, Any]


class OfRecipe(NamedTuple):
    """A run by recipe: what `unpool check RECIPE key=value ...` gets."""

    recipe: str
    overrides: Mapping[str, Any]


class Case(NamedTuple):
    """One run to be checked.

    Attributes:
        name: unique; a statement such as "gradients_never_zeroed".
        make: makes its objects anew, seeded; files below `scratch` only. For one case in a process of its own.
        data, network: what it runs on, such as "mnist" or "generated stripes", "resnet18".
        cause: identifier in causes.txt; None of a healthy run.
        of: name of the healthy case that this one is a small change of; empty of a healthy run.
        source: the public report, paper or documentation that it comes from, with its number or address; else why
            people make this mistake. Of a healthy run, what is odd and right about it.
        also: other causes that are as right an answer, such as a rate that is too high for one that makes values
            overflow; few.
        needs: folders of the public sets that it reads.
    """

    name: str
    make: Callable[[Folders], Plain | OfRecipe]
    data: str
    network: str
    source: str
    cause: str | None = None
    of: str = ""
    also: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The part of a run that it is about: data, augment, network, norm, loss, optim, metric or predict."""
        return (self.cause or "healthy").partition(".")[0]


def causes() -> dict[str, str]:
    """What is wrong, by identifier, in the order of causes.txt."""
    lines = [line for line in CAUSES.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split(maxsplit=1) for line in lines)
