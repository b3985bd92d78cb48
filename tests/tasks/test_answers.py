"""No answer sees the truth: it stays the same, bit for bit, whatever the targets are, and without them."""

from itertools import cycle

import pytest
import torch
from torch import nn

from tests.tasks.tiny_detectors import Branched
from unpool import tasks
from unpool.models.detection.practice import FOCAL
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.sequence_outputs import Begun, ReadSteps, SeenImage, Spoken
from unpool.ops.words import as_bytes
from unpool.tasks import TASKS
from unpool.tasks.segmentation import Segmentation
from unpool.training.step import total_loss
from unpool.types import AnchoredBoxes, CoordinateStages, DataInfo, FieldStages, LocatedBoxes, Stages

B, SIDE = 3, 16
INFO = DataInfo(
    classes=("a", "b", "c"), keypoints=("left_shoulder", "right_hip"), limbs=((0, 1),), words=("dog", "runs", "fast")
)
GENERATOR = torch.Generator().manual_seed(0)


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


KINDS = {
    "captions": "words",
    "classification": "vector",
    "denoising": "maps",
    "detection": "boxes",
    "embedding": "vector",
    "flow": "maps",
    "instances": "masks",
    "localization": "located",
    "people": "fields",
    "people_in_boxes": "joints",
    "pose": "stages",
    "pose_coordinates": "coordinates",
    "reading": "strings",
    "segmentation": "maps",
    "stereo": "maps",
}
IDENTITIES = cycle([torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])])


def points(*shape):
    return SIDE * torch.rand(*shape, 2, generator=GENERATOR)


def boxes(count):
    low = points(count) / 2
    return torch.cat([low, low + 4 + points(count) / 4], dim=1)


def masks(count):
    return torch.rand(count, SIDE, SIDE, generator=GENERATOR) < 0.5


def network_of(task, kind, *, channels=3):
    """A network of that kind of output, in evaluation mode."""
    if kind in ("masks", "joints"):
        things = len(task.info.classes)
        of_joints = {"channels": task.outputs} if kind == "joints" else {}
        return Branched(things, of_boxes=kind, **of_joints).eval()
    if kind == "words":
        return Speaker(task.outputs).eval()
    return Network(task.outputs, kind=kind, channels=channels).eval()


def captions():
    """One or two of random words for each image."""
    chosen = torch.randint(0, 3, (B, 4), generator=GENERATOR).tolist()
    return [[" ".join(INFO.words[i] for i in one), INFO.words[one[0]]] for one in chosen]


def targets(name):
    """Random targets of the shapes that a task needs, other ones at each call."""
    integers = {"generator": GENERATOR, "dtype": torch.int64}
    return {
        "captions": lambda: {"captions": [as_bytes(caption) for caption in captions()]},
        "classification": lambda: {"label": torch.randint(0, 3, (B,), **integers)},
        "detection": lambda: {"boxes": [boxes(n) for n in (1, 2, 0)], "labels": [torch.arange(n) for n in (1, 2, 0)]},
        "instances": lambda: {**targets("detection"), "masks": [masks(n) for n in (1, 2, 0)]},
        "denoising": lambda: {"clean": torch.rand(B, 3, SIDE, SIDE, generator=GENERATOR).mul(255).to(torch.uint8)},
        "embedding": lambda: {"identity": next(IDENTITIES)},
        "flow": lambda: {"flow": 4 * torch.randn(B, 2, SIDE, SIDE, generator=GENERATOR)},
        "localization": lambda: {
            "boxes": list(points(B, 1, 2).flatten(2)),
            "labels": list(torch.randint(0, 3, (B, 1), **integers)),
        },
        "people": lambda: {"people": [points(n, 2) for n in (1, 2, 0)]},
        "people_in_boxes": lambda: {**targets("people"), "boxes": [boxes(n) for n in (1, 2, 0)]},
        "pose": lambda: {"keypoints": points(B, 2), "visible": torch.ones(B, 2, dtype=torch.bool)},
        "pose_coordinates": lambda: {"keypoints": points(B, 2), "visible": torch.ones(B, 2, dtype=torch.bool)},
        "reading": lambda: {"text": [torch.randint(0, 3, (n,), **integers) for n in (1, 2, 3)]},
        "segmentation": lambda: {"mask": torch.randint(0, 3, (B, SIDE, SIDE), **integers)},
        "stereo": lambda: {"disparity": 9 * torch.rand(B, SIDE, SIDE, generator=GENERATOR)},
    }[name]()


def equal(one, other):
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


@pytest.mark.parametrize("name", list(TASKS))
def test_answers_do_not_depend_on_targets(name):
    assert name in KINDS, f"add the kind of output of {name} to KINDS, and random targets to `targets`"
    channels = 3 * TASKS[name].frames
    preprocessing = Preprocessing(channels=channels, mean=channels * (0.5,), std=channels * (0.25,))
    task = tasks.build(name, INFO, options={}, preprocessing=preprocessing)
    network = network_of(task, KINDS[name], channels=channels)
    image = torch.randn(B, channels, SIDE, SIDE, generator=GENERATOR)
    known = {"image": image, "size_hw": torch.full((B, 2), SIDE), "index": torch.arange(B)}
    with torch.inference_mode():
        answers = [task.answer(network, known)]
        losses = []
        for batch in (known | targets(name), known | targets(name)):
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
    batch = known | targets("segmentation")
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
    batch = {"image": torch.randn(B, 3, SIDE, SIDE), "index": torch.arange(B), **targets("segmentation")}
    with torch.inference_mode():
        Watching(INFO).evaluated(network, batch)
        Watching(INFO).answer(network, batch)
    assert seen == 2 * [{"image"}]
