"""What a task is: one problem, and everything that the rest asks of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from unpool.types import Activation, Batch, DataInfo, Losses, Metric, Prediction, Samples

KNOWN = {"image", "size_hw", "valid_xyxy", "index"}  # batch keys that are no targets
_ONE_PASS = "unpool.tasks.one_forward"  # makes loss and answer from one output, in the order that `Task.evaluated` has
_PREFIX = "task/"  # in files of weights; no module's parameter has a name with a slash


class Description(NamedTuple):
    """How one metric of a task is shown.

    Attributes:
        title: its name for people.
        unit: of its numbers, such as dB; empty where they have none.
        is_share: its numbers lie in 0..1 and are shown in percent.
        higher_is_better: whether it is to rise.
        each: empty for one number; else what a number of it belongs to, such as class or joint.
        is_matrix: rows of counts by truth, columns by prediction, in the order of the classes.
        is_curve: a row for each class, of its values at evenly spaced places from 0 to 1 of what `unit` names.
        is_calibration: rows of mean probability, share right and number of answers, of bins of the probability.
    """

    title: str
    unit: str = ""
    is_share: bool = False
    higher_is_better: bool = True
    each: str = ""
    is_matrix: bool = False
    is_curve: bool = False
    is_calibration: bool = False


LOSS = Description("loss", higher_is_better=False)  # measured of every task under the name "loss"


class Baseline(NamedTuple):
    """What a trivial answer scores.

    Attributes:
        metric: the one that `value` is of.
        value: its number.
        about: one sentence on what was answered.
    """

    metric: str
    value: float
    about: str


class Exhibit(NamedTuple):
    """One validation image as the report shows it.

    Attributes:
        pictures: (label, (3, H, W) uint8) side by side.
        caption: one line: truth, answer, and the score of this image where there is one.
        is_right: whether the answer is right; None where there is more than yes and no.
        is_exact: the pictures are shown pixel by pixel, neither enlarged nor made smaller.
    """

    pictures: Sequence[tuple[str, Tensor]]
    caption: str = ""
    is_right: bool | None = None
    is_exact: bool = False


class Explained(NamedTuple):
    """A score of the answer about one image, which an attribution explains.

    Attributes:
        about: what has it, in words.
        value: from images as the network takes them (B, C, H, W) to the score of each (B,), with a gradient.
    """

    about: str
    value: Callable[[Tensor], Tensor]


class Results(NamedTuple):
    """Answers about many images in a format of the field.

    Attributes:
        content: of predictions.json, as JSON.
        records: of images.json: those of the images, with what `content` refers to.
    """

    content: list[dict[str, Any]]
    records: list[dict[str, Any]]


class TrainingSetup(NamedTuple):
    """What of a run's data may make its task useless.

    Attributes:
        gives: keys of the training samples as they lie on disk.
        augmentations: names of the augmentations.
        interpolating: names of those that mix neighbouring pixels.
        window_hw: size of the training windows; None where images keep their size.
        keeps_scale: windows are cut from images as decoded; no size and no augmentation changes their scale.
        sizes_hw: of the training images.
        chooses_pairs: the recipe says which joints trade places in a mirror.
        sets: the samples that are learned from, and those that are measured.
        starts_new: the network starts from drawn weights.
    """

    gives: tuple[str, ...]
    augmentations: tuple[str, ...]
    interpolating: tuple[str, ...]
    window_hw: tuple[int, int] | None
    keeps_scale: bool
    sizes_hw: Sequence[tuple[int, int]]
    chooses_pairs: bool = False
    sets: tuple[Samples, ...] = ()
    starts_new: bool = False


class Task(nn.Module, ABC):
    """One problem: all that is known of it. Nothing outside of `tasks/` names a task or a metric.

    A task is a module: its parameters are trained, averaged, moved, saved and resumed with those of the network.
    Its constructor takes a `DataInfo`, then keywords: the options of a recipe, and `preprocessing` and `samples` (the
    training set), which are passed where it has them.

    Attributes:
        best: name of the metric that chooses the best weights: one that is described, or "loss".
        needs: batch keys that `losses` reads; compared with what the reader gives before the first batch.
        inputs: batch keys that `answer` may read: what is known of a new picture; never a target of `needs`.
        points: keys of a prediction that hold coordinates on the image; new images are shown whole and upright then.
        is_image: answers are images themselves, so that what was read of a file differently matters.
        mixes: its loss reads `partner` and `mix`, which a batch of mixed images has.
        slides: the network gives one score a class for its whole input, so that it can slide over a larger image.
        published: the kinds of published weights whose networks this task answers with, and for each a shipped recipe
            whose reader has sets to measure them on.
        files: endings of the raw files that `write` makes of one answer.
        takes: the kinds of output, of `network_names.OUTPUTS`, that it can learn from; empty where any may do.
        views: the rows of `ops.views.VIEWS` whose answers it can average at test time.
        averages: what it averages of views and of networks, in words; of a `OneForward`.
        joins_networks: whether it can average the answers of several networks.
        frames: image files that one question is about: 2 of a pair, whose channels are put behind one another.
    """

    best: str
    needs: tuple[str, ...] = ("image",)
    inputs: tuple[str, ...] = ("image", "size_hw", "valid_xyxy")
    points: tuple[str, ...] = ()
    is_image: bool = False
    slides: bool = False
    mixes: bool = False
    published: Mapping[str, str] = MappingProxyType({})
    files: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    averages: str = ""
    joins_networks: bool = False
    frames: int = 1

    def __init_subclass__(cls) -> None:
        """Raises TypeError for a task whose answers could see the truth in evaluation."""
        super().__init_subclass__()
        targets = (set(cls.needs) & set(cls.inputs)) - KNOWN
        if targets:
            raise TypeError(f"{cls.__name__}.inputs has {', '.join(sorted(targets))}, which `needs` has as a target")
        if cls.__module__ != _ONE_PASS and (hidden := {"evaluated", "inputs_of"} & set(vars(cls))):
            raise TypeError(
                f"{cls.__name__} replaces {', '.join(sorted(hidden))}, which keeps targets from answers: write "
                "`losses` and `answer`, or derive from OneForward"
            )

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Channels or numbers that the network gives: `num_classes` of `models.build`."""

    @property
    def activation(self) -> Activation | None:
        """What makes probabilities of its network's scores, which are logits; None where it answers with none.

        "softmax" makes those of the classes add up to 1, "sigmoid" gives each class one by itself.
        """
        return None

    @property
    def added_channels(self) -> int:
        """Channels that the task puts behind those of the image."""
        return 0

    def freeze(self, model: nn.Module) -> None:
        """Takes the gradient of weights that are not to be learned, once, before the optimiser asks for it."""
        return

    def initialize(self, model: nn.Module, *, from_file: bool) -> None:
        """Changes initial weights by what the task knows, such as vectors of words; `from_file`: they are of a file."""
        return

    def measure_with(self, info: DataInfo) -> None:
        """Takes what metrics alone use of a set that is to be measured, such as a tree of its classes."""
        return

    @property
    @abstractmethod
    def described(self) -> Mapping[str, Description]:
        """How each metric is shown, in the order worth reading; those left out are in metrics.json only."""

    def description(self, metric: str) -> Description:
        """How a metric is shown; that of the loss is the same for every task.

        Raises:
            KeyError: the metric is not described.
        """
        return {**self.described, "loss": LOSS}[metric]

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss of a batch in float32; the model runs in the precision of the context it is called in.

        Raises:
            RecipeError: the model's output is not what this task needs.
            DataError: a target on the host is out of range.
        """

    @abstractmethod
    def answer(self, model: nn.Module, inputs: Batch) -> Prediction:
        """The prediction from `inputs` alone, a value a sample, on the image of `size_hw`."""

    def evaluated(self, model: nn.Module, batch: Batch) -> tuple[Losses, Prediction]:
        """Losses and answers of one batch; the answer comes first and sees no key but `inputs`. Not to be replaced."""
        answer = self.answer(model, self.inputs_of(batch))
        return self.losses(model, batch), answer

    def inputs_of(self, batch: Batch) -> Batch:
        """The batch without what no answer may see. Not to be replaced."""
        return {key: batch[key] for key in self.inputs if key in batch}

    @abstractmethod
    def metric(self) -> Metric:
        """Counts over a whole set, from predictions and batches."""

    @abstractmethod
    def record(self, prediction: Prediction) -> dict[str, Any]:
        """What a user gets of one image's prediction: names, plain numbers, and maps as tensors."""

    @abstractmethod
    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with a sample's targets or a thinned record drawn on it: (3, H', W') uint8."""

    def explained(self, model: nn.Module, inputs: Batch, target: str | None) -> Explained | None:
        """The score of `target` for one image, by a network in evaluation mode; None where answers have no score.

        Where `target` is None, that of what is answered first.

        Raises:
            RecipeError: the answer has no such target.
        """
        return None

    @property
    def legend(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """Names and RGB of what has a colour in the pictures of `draw` and `exhibit`."""
        return ()

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The image (3, H, W) uint8, truth and answer, both at its size, as the report shows them."""
        drawn = (("truth", self.draw(image, target)), ("prediction", self.draw(image, record)))
        return Exhibit((("image", image), *drawn))

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """Writes raw files `<stem>_<ending>`, one for each of `files`; returns the record as JSON."""
        return dict(record)

    def results(self, records: Sequence[Mapping[str, Any]]) -> Results | None:
        """The written records of many images in a format of the field; None where predictions.json lists them alone."""
        return None

    def brief(self, written: Mapping[str, Any]) -> str:
        """What `write` returned, in a few words for one line, such as `bees 0.93`; empty where there are none."""
        return ""

    def settle(self, metrics: Mapping[str, Any]) -> None:
        """Takes what answers need of an evaluation during training, before its weights are kept: such as a threshold.

        What is taken belongs into buffers, so that it is saved and resumed with the weights.
        """
        return

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        """The record for an image of which each `step`-th pixel is shown."""
        return {k: v[..., ::step, ::step] if isinstance(v, Tensor) else v for k, v in record.items()}

    def sure_mistake(self, prediction: Prediction, batch: Batch) -> float | None:
        """How sure the network is of what is wrong in its answer for the one image of a batch, the surer the higher.

        None where nothing is wrong, or where the task does not say how sure an answer is.
        """
        return None

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """What a trivial answer, learned from `train`, scores on `val`; None where none is worth knowing.

        `metrics` are those of the network on `val`.
        """
        return None

    @property
    def asks_baseline(self) -> bool:
        """Whether the user asked for the baseline, so that images are decoded again for it where they are not kept."""
        return False

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """What the user should know before training, a sentence each.

        Raises:
            RecipeError: training would not learn what it should.
        """
        return []

    def saved(self) -> dict[str, Any]:
        """Options to be kept in the model file instead of those of the recipe, such as computed class weights."""
        return {}


def joined_state(model: Mapping[str, Tensor], task: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network and of its task under names that keep them apart: one file of weights."""
    return {**model, **{_PREFIX + name: value for name, value in task.items()}}


def split_state(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's tensors and the task's, of a file of weights."""
    model = {name: value for name, value in tensors.items() if not name.startswith(_PREFIX)}
    task = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    return model, task


def is_above(metrics: Mapping[str, Any], baseline: Baseline, description: Description) -> bool:
    """Whether a network scores better than a trivial answer; also where its score is not known.

    >>> is_above({"accuracy": 0.5}, Baseline("accuracy", 0.5, "Always yes."), Description("accuracy"))
    False
    """
    value = metrics.get(baseline.metric)
    sign = 1 if description.higher_is_better else -1
    return value is None or sign * value > sign * baseline.value


def first_sample(prediction: Prediction) -> Prediction:
    """The first sample's values of a prediction, tensors on the host."""
    firsts = {key: value[0] for key, value in prediction.items()}
    return {key: one.cpu() if isinstance(one, Tensor) else one for key, one in firsts.items()}
