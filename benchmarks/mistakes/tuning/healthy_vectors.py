"""Healthy runs whose answers are vectors and sentences: boxes, embeddings, captions."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset
from torchvision.ops import box_iou

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.pieces import Dicts, Pairs, answers, batched, loader

SIDE = 64
REFERENCE = torch.tensor([20.0, 20.0, 44.0, 44.0])  # the box that each thing's box is described by


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each box with the one of the same index."""
    return box_iou(boxes, others).diag()


def mean_box_iou(model: nn.Module, val: Any) -> float:
    """Mean over the set of each image's overlap."""
    return float(torch.cat([paired_iou(outputs, boxes) for outputs, boxes in answers(model, batched(val))]).mean())


def cells_run(folders: Folders) -> Plain:
    """The white cell of a picture, its corners as shares of the picture, which a sigmoid gives."""
    torch.manual_seed(0)
    model = nn.Sequential(networks.BoxNet(), nn.Sigmoid())
    images, boxes = sets.cells(folders, "train")
    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(images - 0.7, boxes), 16, shuffle=True),
            "val": loader(
                TensorDataset(*[t - shift for t, shift in zip(sets.cells(folders, "val"), (0.7, 0.0), strict=True)]), 16
            ),
            "loss": nn.SmoothL1Loss(beta=0.1),
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "metric": lambda outputs, targets: paired_iou(outputs, targets).mean(),
            "evaluate": mean_box_iou,
            "task": "boxes",
            "epochs": 15,
        }
    )


def encode(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) in pixels as shift and logarithm of the size, in units of the reference box."""
    size = REFERENCE[2:] - REFERENCE[:2]
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    shift = (middle - (REFERENCE[:2] + REFERENCE[2:]) / 2) / size
    return torch.cat([shift, ((boxes[..., 2:] - boxes[..., :2]) / size).log()], -1)


def decode(codes: Tensor) -> Tensor:
    """Boxes (..., 4) in pixels of their codes."""
    size = REFERENCE[2:] - REFERENCE[:2]
    middle = codes[..., :2] * size + (REFERENCE[:2] + REFERENCE[2:]) / 2
    half = codes[..., 2:].exp() * size / 2
    return torch.cat([middle - half, middle + half], -1)


def decoded_iou(model: nn.Module, val: Any) -> float:
    """Mean overlap of the decoded boxes of dicts."""
    batches = answers(model, val, lambda network, batch: network(batch["image"]))
    return float(torch.cat([paired_iou(decode(codes), batch["boxes"]) for codes, batch in batches]).mean())


def code_loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Of codes, against the codes of the boxes."""
    return F.smooth_l1_loss(outputs, encode(batch["boxes"]))


def boxed_run(_: Folders) -> Plain:
    """Striped ellipses in dicts, boxes in pixels, learned as codes against a reference box."""
    torch.manual_seed(0)
    model = networks.BoxNet()
    images, boxes = generated.boxed(320, 51)
    val_images, val_boxes = generated.boxed(80, 52)

    def predict(picture: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return decode(model(picture[None]))[0]

    return Plain(
        {
            "model": model,
            "train": loader(Dicts(image=images, boxes=boxes), 16, shuffle=True),
            "val": loader(Dicts(image=val_images, boxes=val_boxes), 16),
            "loss": code_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "forward": lambda network, batch: network(batch["image"]),
            "metric": lambda outputs, batch: paired_iou(decode(outputs), batch["boxes"]).mean(),
            "evaluate": decoded_iou,
            "predict": predict,
            "task": "boxes",
            "epochs": 14,
        }
    )


class PTimesK(Sampler):
    """Indices of batches of P people with K images each, of another order in each epoch."""

    def __init__(self, labels: Tensor, people: int, each: int, batches: int) -> None:
        self.labels, self.people, self.each, self.batches = labels, people, each, batches
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        known = self.labels.unique()
        for _ in range(self.batches):
            chosen = known[torch.randperm(len(known), generator=self.generator)[: self.people]]
            batch: list[int] = []
            for person in chosen:
                of_person = (self.labels == person).nonzero().flatten()
                batch += of_person[torch.randperm(len(of_person), generator=self.generator)[: self.each]].tolist()
            yield batch


def triplet_loss(vectors: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """The hardest triplet of each image of the batch: another image of the person, and the nearest of another one."""
    distances = torch.cdist(vectors, vectors)
    same = labels[:, None] == labels
    far = distances.masked_fill(~same, -1).max(1).values
    near = distances.masked_fill(same, 9).min(1).values
    return F.relu(far - near + margin).mean()


def recall_at_one(model: nn.Module, val: Any) -> float:
    """The share of images whose nearest other image shows the same person."""
    vectors, labels = (torch.cat(parts) for parts in zip(*answers(model, batched(val)), strict=True))
    distances = torch.cdist(vectors, vectors).fill_diagonal_(9)
    return float((labels[distances.argmin(1)] == labels).float().mean())


def signs_run(_: Folders) -> Plain:
    """Generated signs: triplets among those of training, others in validation."""
    torch.manual_seed(0)
    model = networks.Embedder()
    images, labels = generated.signs(24, 10, 61)
    val = TensorDataset(*generated.signs(12, 8, 62, first=24))
    return Plain(
        {
            "model": model,
            "train": DataLoader(TensorDataset(images, labels), batch_sampler=PTimesK(labels, 6, 4, 15)),
            "val": loader(val, 24),
            "loss": triplet_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "evaluate": recall_at_one,
            "task": "embedding",
            "epochs": 10,
        }
    )


def twin_run(_: Folders) -> Plain:
    """Pairs of signs (B, 2, 1, 32, 32) and whether they are the same (1): Hadsell's contrastive loss."""
    torch.manual_seed(0)
    model = networks.Embedder(norm="group")

    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(*pairs_of(*generated.signs(80, 5, 63), 480, 64)), 16, shuffle=True),
            "val": loader(TensorDataset(*pairs_of(*generated.signs(12, 8, 65, first=80), 120, 66)), 16),
            "loss": contrastive_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "forward": two_vectors,
            "metric": verified,
            "evaluate": verification,
            "task": "embedding",
            "epochs": 10,
        }
    )


def pairs_of(images: Tensor, labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Half of them images of one sign, half of two."""
    generator = torch.Generator().manual_seed(seed)
    same = (torch.arange(count) % 2).float()
    pairs = []
    for is_same in same:
        first = int(torch.randint(len(images), (1,), generator=generator))
        others = ((labels == labels[first]) == bool(is_same)).nonzero().flatten()
        second = int(others[torch.randint(len(others), (1,), generator=generator)])
        pairs.append(torch.stack([images[first], images[second]]))
    return torch.stack(pairs), same


def two_vectors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """(B, 2, D): the vectors of the two images of each pair."""
    return torch.stack([model(batch[0][:, 0]), model(batch[0][:, 1])], 1)


def contrastive_loss(vectors: Tensor, same: Tensor, margin: float = 0.8) -> Tensor:
    """Squared distance of the same, squared lack of distance of others."""
    distance = (vectors[:, 0] - vectors[:, 1]).norm(dim=1)
    return (same * distance**2 + (1 - same) * F.relu(margin - distance) ** 2).mean()


def verified(vectors: Tensor, same: Tensor) -> Tensor:
    """The share of pairs on the right side of a distance of 0.5."""
    near = (vectors[:, 0] - vectors[:, 1]).norm(dim=1) < 0.5
    return (near == (same > 0.5)).float().mean()


def verification(model: nn.Module, val: Any) -> float:
    """The share of pairs of the set that are verified."""
    right = [verified(vectors, batch[1]) * len(batch[1]) for vectors, batch in answers(model, val, two_vectors)]
    return float(sum(right)) / len(val.dataset)


def shifted(image: Tensor, label: Any, generator: torch.Generator | None = None) -> tuple[Tensor, Any]:
    """Moves an image by up to eight pixels and changes its brightness."""
    down, across = torch.randint(-8, 9, (2,), generator=generator).tolist()
    return image.roll((down, across), (1, 2)) * (0.6 + 0.6 * torch.rand((), generator=generator)), label


def faces_run(folders: Folders) -> Plain:
    """People of ORL, learned by triplets on 28 of them and validated on 12 others."""
    torch.manual_seed(0)
    model = networks.Embedder(64)
    images, labels = sets.faces(folders, range(28), range(1, 8))
    val_images, val_labels = sets.faces(folders, range(28, 40), range(1, 8))
    generator = torch.Generator().manual_seed(0)
    val = TensorDataset(torch.stack([shifted(image, 0, generator)[0] for image in val_images]), val_labels)
    return Plain(
        {
            "model": model,
            "train": DataLoader(Pairs(images, labels, augment=shifted), batch_sampler=PTimesK(labels, 8, 3, 20)),
            "val": loader(val, 28),
            "augment": shifted,
            "loss": triplet_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "evaluate": recall_at_one,
            "task": "embedding",
            "epochs": 8,
        }
    )


def next_words(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """(B, T, words): of the word that follows each one."""
    return model(batch["image"], batch["caption"][:, :-1])


def word_loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of the words that follow, padding left out."""
    return F.cross_entropy(outputs.flatten(0, 1), batch["caption"][:, 1:].flatten(), ignore_index=0)


def word_accuracy(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The share of right words, padding left out."""
    words = batch["caption"][:, 1:]
    return ((outputs.argmax(2) == words) & (words > 0)).sum() / (words > 0).sum()


def mean_word_accuracy(model: nn.Module, val: Any) -> float:
    """The share of right words over the set."""
    right = total = 0
    for outputs, batch in answers(model, val, next_words):
        words = batch["caption"][:, 1:]
        right += int(((outputs.argmax(2) == words) & (words > 0)).sum())
        total += int((words > 0).sum())
    return right / total


def caption_run(
    model: nn.Module, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], epochs: int, lr: float
) -> Plain:
    """Pictures and sentences in dicts, the words before each one known while training."""
    batch = {"image": train[0][:2], "caption": train[1][:2]}
    next_words(model.eval(), batch)  # sizes the layers that wait for their input
    model.train()
    return Plain(
        {
            "model": model,
            "train": loader(Dicts(image=train[0], caption=train[1]), 16, shuffle=True),
            "val": loader(Dicts(image=val[0], caption=val[1]), 16),
            "loss": word_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=lr),
            "forward": next_words,
            "metric": word_accuracy,
            "evaluate": mean_word_accuracy,
            "task": "captions",
            "epochs": epochs,
        }
    )


def described_run(_: Folders) -> Plain:
    """Sentences about generated shapes."""
    torch.manual_seed(0)
    model = networks.Captioner(len(generated.WORDS))
    run = caption_run(model, generated.described(320, 71), generated.described(100, 72), 14, 3e-3)
    return Plain({**run.arguments, "classes": list(generated.WORDS)})


def flickr_run(folders: Folders) -> Plain:
    """Sentences about photographs of Flickr8k, of few words and small pictures."""
    torch.manual_seed(0)
    images, texts, words = sets.sentences(folders, "train", 320, None)
    val_images, val_texts, _ = sets.sentences(folders, "dev", 80, words)
    run = caption_run(networks.Captioner(len(words)), (images, texts), (val_images, val_texts), 12, 3e-3)
    return Plain({**run.arguments, "classes": words})


CELLS = Case("white_cell_is_located", cells_run, "bccd", "box network and sigmoid", "one box an image", needs=("bccd",))
BOXED = Case(
    "ellipse_is_located", boxed_run, "generated ellipses", "box network", "dicts; codes against a reference box"
)
SIGNS = Case(
    "signs_are_recognised", signs_run, "generated signs", "embedding network", "batches of P people by K images"
)
TWIN = Case("pairs_of_signs", twin_run, "generated signs", "embedding network, group norm", "two images a sample")
FACES = Case(
    "faces_of_others",
    faces_run,
    "orl_faces",
    "embedding network of 64",
    "few images of each person",
    needs=("orl_faces",),
)
DESCRIBED = Case(
    "shapes_are_described", described_run, "generated shapes", "GRU captioner", "sentences padded to one length"
)
FLICKR = Case(
    "photographs_are_described",
    flickr_run,
    "flickr8k_mini",
    "GRU captioner",
    "rare words are one word",
    needs=("flickr8k_mini",),
)
HEALTHY = (CELLS, BOXED, SIGNS, TWIN, FACES, DESCRIBED, FLICKR)
