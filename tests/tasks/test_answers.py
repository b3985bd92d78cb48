"""No answer sees the truth: it stays the same, bit for bit, whatever the targets are, and without them."""

import pytest
import torch
from torch import nn

from tests.tasks.every_task import EVERY_TASK, GENERATOR, INFO, SIDE, B
from tests.tasks.tiny_detectors import Branched
from unpool import tasks
from unpool.models.detection.practice import FOCAL
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.sequence_outputs import Begun, ReadSteps, SeenImage, Spoken
from unpool.tasks import TASKS
from unpool.tasks.segmentation import Segmentation
from unpool.training.step import total_loss
from unpool.types import AnchoredBoxes, CoordinateStages, FieldStages, LocatedBoxes, Stages


def as_boxes(maps):
    """Scores and deltas of an anchor of 6 pixels at every second pixel."""
    grid = torch.arange(0.0, SIDE, 2)
    x, y = torch.meshgrid(grid, grid, indexing="xy")
    centres = torch.stack([x, y], dim=-1).reshape(-1, 2)
    anchors = torch.cat([centres - 3, centres + 3], dim=1)
    given = maps[..., ::2, ::2].flatten(2).mT  # (B, A, classes)
    return AnchoredBoxes(given, given[..., :1].expand(-1, -1, 4), anchors, torch.zeros(len(anchors)).long())


class Network(nn.Module):
    """Outputs of the kind that a task asks for, which depend on the image."""

    practice, box_weights = FOCAL, (1.0, 1.0, 1.0, 1.0)

    def __init__(self, outputs, *, kind, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(channels, outputs, 3, padding=1)
        self.kind = kind

    def forward(self, image):
        maps = self.conv(image)
        if self.kind == "vector":
            return maps.mean((2, 3))
        if self.kind == "stages":
            return Stages((maps, 2 * maps))
        if self.kind == "coordinates":
            return CoordinateStages((maps.mean((2, 3)).repeat(1, 2), maps.amax((2, 3)).repeat(1, 2)))
        if self.kind == "boxes":
            return as_boxes(maps)
        if self.kind == "fields":
            return FieldStages((maps[:, :2],), (maps,))
        if self.kind == "located":
            return LocatedBoxes(maps.mean((2, 3)), maps.amax((2, 3))[:, :1].expand(-1, 4) / 10)
        if self.kind == "strings":
            return ReadSteps(maps.mean(2))
        return maps


class Speaker(nn.Module):
    """A captioner whose words depend on the image and on the word before."""

    seen = "mean colour"

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(outputs, 4)
        self.image, self.head = nn.Linear(3, 4), nn.Linear(4, outputs)
        self.seeing = (self.image,)

    def see(self, image):
        return image.mean((2, 3))

    def begin(self, features):
        return Begun((self.image(features),))

    def drawn(self, images):
        return None

    def step(self, word, begun, kept=None):
        hidden = torch.tanh(begun.state[0] + self.words(word))
        return Spoken(hidden, (hidden,))

    def scores(self, hidden):
        return self.head(hidden)

    def forward(self, image):
        return SeenImage(self.scores(self.begin(self.see(image)).state[0]), self.see(image))


def network_of(task, kind, *, channels=3):
    """A network of that kind of output, in evaluation mode."""
    if kind in ("masks", "joints"):
        things = len(task.info.classes)
        of_joints = {"channels": task.outputs} if kind == "joints" else {}
        return Branched(things, of_boxes=kind, **of_joints).eval()
    if kind == "words":
        return Speaker(task.outputs).eval()
    return Network(task.outputs, kind=kind, channels=channels).eval()


def equal(one, other):
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


@pytest.mark.parametrize("name", list(TASKS))
def test_answers_do_not_depend_on_targets(name):
    assert name in EVERY_TASK, f"add a row of {name} to tests/tasks/every_task.py"
    targets = EVERY_TASK[name].targets
    channels = 3 * TASKS[name].frames
    preprocessing = Preprocessing(channels=channels, mean=channels * (0.5,), std=channels * (0.25,))
    task = tasks.build(name, INFO, options={}, preprocessing=preprocessing)
    network = network_of(task, EVERY_TASK[name].output, channels=channels)
    image = torch.randn(B, channels, SIDE, SIDE, generator=GENERATOR)
    known = {"image": image, "size_hw": torch.full((B, 2), SIDE), "index": torch.arange(B)}
    with torch.inference_mode():
        answers = [task.answer(network, known)]
        losses = []
        for batch in (known | targets(), known | targets()):
            answers.append(task.answer(network, batch))
            terms, answer = task.evaluated(network, batch)
            answers.append(answer)
            losses += [float(total_loss(terms)), float(total_loss(task.losses(network, batch)))]
    assert losses[0] == losses[1] != losses[2] == losses[3]
    for answer in answers[1:]:
        assert answer.keys() == answers[0].keys()
        assert all(equal(answer[key], answers[0][key]) for key in answer)


@pytest.mark.parametrize("name", list(TASKS))
def test_what_an_answer_may_see_is_no_target(name):
    kind = TASKS[name]
    assert set(kind.inputs) & set(kind.needs) == {"image"}


class Peeking(Segmentation):
    """Keeps the mask of its loss and gives it back as the answer."""

    def loss(self, output, batch):
        self.kept = batch["mask"]
        return super().loss(output, batch)

    def decode(self, output, inputs):
        return {**super().decode(output, inputs), "mask": getattr(self, "kept", torch.zeros(B, SIDE, SIDE))}


def test_an_answer_is_made_before_the_loss_of_its_batch_reads_the_targets():
    network = Network(3, kind="maps").eval()
    known = {"image": torch.randn(B, 3, SIDE, SIDE), "size_hw": torch.full((B, 2), SIDE)}
    batch = known | EVERY_TASK["segmentation"].targets()
    with torch.inference_mode():
        _, answer = Peeking(INFO).evaluated(network, batch)
    assert not torch.equal(answer["mask"].long(), batch["mask"])


def test_task_that_takes_down_the_wall_between_targets_and_answers_is_refused():
    with pytest.raises(TypeError, match="inputs has mask, which `needs` has as a target"):
        type("Seeing", (Segmentation,), {"inputs": ("image", "mask")})
    for name in ("evaluated", "inputs_of"):
        with pytest.raises(TypeError, match=f"replaces {name}, which keeps targets from answers"):
            type("Seeing", (Segmentation,), {name: lambda self, *given: None})


def test_decoding_gets_the_inputs_and_nothing_else():
    class Watching(Segmentation):
        def decode(self, output, inputs):
            seen.append(set(inputs))
            return super().decode(output, inputs)

    seen = []
    network = Network(3, kind="maps").eval()
    batch = {"image": torch.randn(B, 3, SIDE, SIDE), "index": torch.arange(B), **EVERY_TASK["segmentation"].targets()}
    with torch.inference_mode():
        Watching(INFO).evaluated(network, batch)
        Watching(INFO).answer(network, batch)
    assert seen == 2 * [{"image"}]
