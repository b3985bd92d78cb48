"""Generated pictures: textures, berries, scenes, leaves, figures, boxed things, signs, shapes and their sentences."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TEXTURES = ("checks", "dots", "level", "upright")
BERRIES = ("blueberry", "lingonberry", "plum", "seabuckthorn")
HUES = torch.tensor([[0.25, 0.3, 0.75], [0.8, 0.12, 0.15], [0.5, 0.15, 0.5], [0.95, 0.6, 0.1]])
JOINTS = ("head", "left_hand", "right_hand", "left_foot", "right_foot")
WORDS = (
    *("<pad>", "<start>", "<end>", "a", "red", "green", "blue", "disc", "square", "bar"),
    *("above", "below", "left", "right", "of", "the", "middle", "in"),
)
COLOURS = torch.tensor([[0.85, 0.2, 0.2], [0.2, 0.75, 0.3], [0.25, 0.3, 0.9]])


def grid(size: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of the pixels of a square picture."""
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    return rows, columns


def clouds(count: int, size: int, generator: torch.Generator, cells: int = 6) -> Tensor:
    """(N, 3, size, size) smooth colour between 0 and 1, as out of focus backgrounds are."""
    coarse = torch.rand(count, 3, cells, cells, generator=generator)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)


def textures(
    count: int, seed: int, *, size: int = 32, shares: tuple[float, ...] | None = None
) -> tuple[Tensor, Tensor]:
    """Pictures of a coloured texture on a cloudy ground with noise, and its number in `TEXTURES`."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor(shares) if shares else torch.ones(len(TEXTURES))
    labels = torch.multinomial(weights, count, replacement=True, generator=generator)
    rows, columns = grid(size)
    draws = torch.rand(count, 6, generator=generator)
    ground = 0.6 * clouds(count, size, generator)
    noise = 0.12 * torch.randn(count, 3, size, size, generator=generator)
    pictures = []
    for label, draw, under in zip(labels.tolist(), draws, ground, strict=True):
        period, phase = 5 + 4 * float(draw[0]), 6.3 * float(draw[1])
        down, across = torch.sin(rows * 6.3 / period + phase), torch.sin(columns * 6.3 / period + phase)
        pattern = (down * across, (down + across > 1.2).float(), down, across)[label]
        pictures.append(under + 0.35 * pattern * (0.4 + draw[2:5])[:, None, None])
    return (torch.stack(pictures) + noise + 0.2).clamp(0, 1), labels


def berries(count: int, seed: int, *, size: int = 32) -> tuple[Tensor, Tensor]:
    """Pictures of a few berries before leaves, which differ in their colour, and its number in `BERRIES`."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(BERRIES), (count,), generator=generator)
    leaves = clouds(count, size, generator, 9) * torch.tensor([0.35, 0.6, 0.3])[:, None, None]
    rows, columns = grid(size)
    for picture, label in zip(leaves, labels.tolist(), strict=True):
        colour = HUES[label] + 0.08 * torch.randn(3, generator=generator)
        for _ in range(4):
            row, column, radius = (torch.rand(3, generator=generator) * torch.tensor([size, size, size / 10])).tolist()
            distance = ((rows - row) ** 2 + (columns - column) ** 2) / (2 + radius) ** 2
            picture[:, distance < 1] = (colour[:, None] * (1.1 - 0.4 * distance[distance < 1])).clamp(0, 1)
    return (leaves + 0.05 * torch.randn(leaves.shape, generator=generator)).clamp(0, 1), labels


def scenes(
    count: int, seed: int, *, size: int = 48, border: bool = True, sparse: bool = False
) -> tuple[Tensor, Tensor]:
    """Pictures of discs (1) and squares (2) on a ground (0), and masks; `border` marks their edges 255, not counted."""
    generator = torch.Generator().manual_seed(seed)
    pictures, masks = clouds(count, size, generator), torch.zeros(count, size, size, dtype=torch.long)
    rows, columns = grid(size)
    for picture, mask in zip(pictures, masks, strict=True):
        things = 1 + int(torch.randint(3, (1,), generator=generator))
        for _ in range(0 if sparse and torch.rand(1, generator=generator) < 0.8 else things):
            row, column, radius, kind, *colour = torch.rand(7, generator=generator).tolist()
            away = torch.stack([rows - row * size, columns - column * size]).abs()
            distance = away.norm(dim=0) if kind < 0.5 else away.max(0).values
            inside, edge = distance < 5 + 6 * radius, (distance - 5 - 6 * radius).abs() < 1
            shade = 0.8 + 0.2 * torch.sin((rows if kind < 0.5 else columns) * 1.6)
            picture[:, inside] = (torch.tensor(colour)[:, None, None] * shade)[:, inside]
            mask[inside] = 1 if kind < 0.5 else 2
            if border:
                mask[edge] = 255
    return (pictures + 0.06 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1), masks


def leaves(count: int, seed: int, *, size: int = 32) -> Tensor:
    """(N, 1, size, size) grey pictures of overlapping discs with soft shading, whose edges are like photographs'."""
    generator = torch.Generator().manual_seed(seed)
    pictures = clouds(count, size, generator)[:, :1].clone()
    rows, columns = grid(size)
    for picture in pictures:
        for _ in range(25):
            row, column, radius, grey, slope = torch.rand(5, generator=generator).tolist()
            inside = (rows - row * size) ** 2 + (columns - column * size) ** 2 < (2 + 9 * radius**2) ** 2
            picture[0, inside] = (grey + 0.3 * (slope - 0.5) * (rows - columns) / size)[inside]
    return pictures.clamp(0, 1)


def figures(count: int, seed: int, *, size: int = 48) -> tuple[Tensor, Tensor]:
    """Pictures of a figure, and (N, 5, 3): x, y and whether it is visible.

    A light head is a face, so that its left hand lies on the right; a dark head is seen from behind.
    """
    generator = torch.Generator().manual_seed(seed)
    pictures, joints = 0.7 * clouds(count, size, generator), torch.zeros(count, len(JOINTS), 3)
    rows, columns = grid(size)
    face, hair, shirt = torch.tensor([[0.95, 0.85, 0.7], [0.15, 0.1, 0.05], [0.9, 0.25, 0.2]])
    for picture, points in zip(pictures, joints, strict=True):
        facing = -1 if torch.rand(1, generator=generator) < 0.5 else 1  # seen from before, or from behind
        head = face if facing < 0 else hair
        middle = size * (0.4 + 0.2 * torch.rand(2, generator=generator))
        reach = size * (0.2 + 0.1 * torch.rand(5, generator=generator))
        angles = torch.tensor([-90.0, -facing * 50 - 90, facing * 50 - 90, 90 + facing * 25, 90 - facing * 25])
        turns = (angles + 20 * torch.randn(5, generator=generator)) * math.pi / 180
        ends = torch.stack([middle[0] + reach * turns.cos(), middle[1] + reach * turns.sin()], 1).clamp(2, size - 3)
        for end, shade in zip(ends, (head, shirt, shirt, shirt, shirt), strict=True):
            along = end - middle
            share = ((columns - middle[0]) * along[0] + (rows - middle[1]) * along[1]) / (along @ along)
            share = share.clamp(0, 1)
            away = (columns - middle[0] - share * along[0]) ** 2 + (rows - middle[1] - share * along[1]) ** 2
            picture[:, away < (9.0 if shade is head else 2.5)] = shade[:, None]
        points[:, :2], points[:, 2] = ends, 1
        if torch.rand(1, generator=generator) < 0.3:  # a joint that something hides, with coordinates that say nothing
            points[int(torch.randint(1, 5, (1,), generator=generator))] = torch.tensor([-1.0, -1.0, 0.0])
    return (pictures + 0.05 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1), joints


def boxed(count: int, seed: int, *, size: int = 64) -> tuple[Tensor, Tensor]:
    """Pictures of one striped ellipse before clouds, and its box (N, 4): x1, y1, x2, y2 in pixels."""
    generator = torch.Generator().manual_seed(seed)
    pictures, boxes = clouds(count, size, generator), torch.zeros(count, 4)
    rows, columns = grid(size)
    for picture, box in zip(pictures, boxes, strict=True):
        half = size * (0.08 + 0.16 * torch.rand(2, generator=generator))
        middle = half + 1 + (size - 2 * half - 2) * torch.rand(2, generator=generator)
        inside = ((columns - middle[0]) / half[0]) ** 2 + ((rows - middle[1]) / half[1]) ** 2 < 1
        picture[:, inside] = (0.5 + 0.5 * torch.sin((rows + columns) * 1.5))[inside] * torch.tensor(
            [[0.9], [0.8], [0.2]]
        )
        box[:2], box[2:] = middle - half, middle + half
    return (pictures + 0.05 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1), boxes


def signs(people: int, each: int, seed: int, *, first: int = 0) -> tuple[Tensor, Tensor]:
    """(N, 1, 32, 32) drawings of signs, each written `each` times with other pens, and whose sign it is."""
    pictures, labels = [], []
    generator = torch.Generator().manual_seed(seed)
    for sign in range(first, first + people):
        strokes = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1000 + sign)) > 0.55
        for _ in range(each):
            width = 24 + int(torch.randint(9, (1,), generator=generator))
            drawn = F.interpolate(strokes.float(), (width, width), mode="bilinear")[0]
            left, top = torch.randint(-4, 5, (2,), generator=generator).tolist()
            picture = F.pad(drawn, (6, 40, 6, 40)).roll((top, left), (1, 2))[:, 2:34, 2:34]
            pictures.append(picture * (0.6 + 0.4 * torch.rand(1, generator=generator)))
            labels.append(sign)
    pictures = torch.stack(pictures)
    return (pictures + 0.1 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1), torch.tensor(labels)


def described(count: int, seed: int, *, size: int = 40) -> tuple[Tensor, Tensor]:
    """Pictures of one or two coloured shapes, and sentences about them (N, 10) as numbers in `WORDS`, padded with 0."""
    generator = torch.Generator().manual_seed(seed)
    pictures = 0.4 * clouds(count, size, generator)
    sentences = torch.zeros(count, 10, dtype=torch.long)
    rows, columns = grid(size)
    for picture, sentence in zip(pictures, sentences, strict=True):
        two = bool(torch.rand(1, generator=generator) < 0.5)
        side, order = torch.randint(2, (2,), generator=generator).tolist()
        looks = torch.randint(3, (2, 2), generator=generator).tolist()
        shift = size / 4 * (1 if order else -1) if two else 0
        for (colour, shape), sign in zip(looks[: 1 + two], (1, -1), strict=False):
            down, across = (rows - size / 2 - sign * shift, columns - size / 2)
            if side:
                down, across = rows - size / 2, columns - size / 2 - sign * shift
            inside = (
                down**2 + across**2 < 36,
                torch.maximum(down.abs(), across.abs()) < 5.5,
                (down.abs() < 2.5) & (across.abs() < 8),
            )[shape]
            picture[:, inside] = COLOURS[colour][:, None]
        text = ["<start>", *_named(looks[0])]
        if two:
            relation = (
                (("below",) if order else ("above",)) if not side else (("right", "of") if order else ("left", "of"))
            )
            text += [*relation, *_named(looks[1])]
        numbers = [WORDS.index(word) for word in [*text, "<end>"]]
        sentence[: len(numbers)] = torch.tensor(numbers)
    return (pictures + 0.05 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1), sentences


def _named(look: list[int]) -> tuple[str, str, str]:
    return "a", ("red", "green", "blue")[look[0]], ("disc", "square", "bar")[look[1]]
