"""Pictures drawn by a seed, as uint8 arrays (N, H, W, 3), with what is to be learned about them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]

TEXTURES = ("bricks", "checks", "dots", "flat stripes", "slanted stripes", "upright stripes")
JOINTS = ("head", "left hand", "right hand", "hip", "left foot", "right foot")
LEFT_RIGHT = ((1, 2), (4, 5))
SHAPES = ("circle", "square", "triangle")
COLOURS = {"red": (205, 60, 50), "green": (60, 170, 70), "blue": (60, 80, 200)}


def textures(count: int, seed: int, *, size: int = 32, labels: Numbers | None = None) -> tuple[Bytes, Numbers]:
    """Six textures in random colours, scales and phases, under noise; labels by number of TEXTURES."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(TEXTURES)) if labels is None else labels
    y, x = np.mgrid[:size, :size].astype(np.float32)
    images = np.empty((count, size, size, 3), np.uint8)
    for i, label in enumerate(labels):
        period, phase = rng.uniform(5, 11), rng.uniform(0, 30, 2)
        u, v = 2 * np.pi * (x + phase[0]) / period, 2 * np.pi * (y + phase[1]) / period
        row = np.floor((y + phase[1]) / period)
        pattern = {
            0: ((np.sin(v) > -0.8) & (np.sin(u / 1.6 + np.pi * row) > -0.85)).astype(np.float32),
            1: (np.sin(u) * np.sin(v) > 0).astype(np.float32),
            2: (np.sin(u) + np.sin(v) > 0.9).astype(np.float32),
            3: (np.sin(v) > 0).astype(np.float32),
            4: (np.sin(0.7 * u + 0.7 * v) > 0).astype(np.float32),
            5: (np.sin(u) > 0).astype(np.float32),
        }[int(label)]
        dark, light = rng.uniform(30, 130, 3), rng.uniform(110, 230, 3)
        image = dark + (light - dark) * pattern[..., None] + rng.normal(0, 22, (size, size, 3))
        images[i] = image.clip(0, 255)
    return images, labels.astype(np.int64)


def cells(count: int, seed: int, *, size: int = 64) -> tuple[Bytes, Bytes]:
    """Round dark cells (1) and long pale ones (2) on a blotched ground (0); masks have a rim of void, 255."""
    rng = np.random.default_rng(seed)
    images, masks = np.empty((count, size, size, 3), np.uint8), np.zeros((count, size, size), np.uint8)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    for i in range(count):
        ground = 170 + 20 * np.sin(x / rng.uniform(8, 20) + rng.uniform(0, 6)) * np.sin(y / rng.uniform(8, 20))
        image = np.stack([ground, ground - 25, ground - 5], -1)
        for _ in range(rng.integers(4, 8)):
            kind = int(rng.integers(1, 3))
            a, b = ((r := rng.uniform(5, 8)), r) if kind == 1 else (rng.uniform(9, 13), rng.uniform(3, 4.5))
            turn, cx, cy = rng.uniform(0, np.pi), *rng.uniform(6, size - 6, 2)
            u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
            v = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
            distance = np.sqrt((u / a) ** 2 + (v / b) ** 2)
            colour = np.array((120, 70, 130) if kind == 1 else (205, 140, 165)) + rng.normal(0, 12, 3)
            image = np.where((distance < 1)[..., None], colour, image)
            masks[i][(distance < 1.15) & (distance >= 1)] = 255
            masks[i][distance < 1] = kind
        images[i] = (image + rng.normal(0, 14, image.shape)).clip(0, 255)
    return images, masks


def plates(count: int, seed: int, *, size: int = 48) -> Bytes:
    """Clean grey pictures (N, H, W): overlapping polygons with soft shades, as of technical drawings."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    images = np.empty((count, size, size), np.uint8)
    for i in range(count):
        image = Image.fromarray((90 + 60 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        for _ in range(6):
            centre = rng.uniform(0, size, 2)
            corners = [tuple(centre + rng.uniform(-16, 16, 2)) for _ in range(int(rng.integers(3, 6)))]
            pen.polygon(corners, fill=int(rng.integers(20, 240)))
        images[i] = np.asarray(image)
    return images


def figures(count: int, seed: int, *, size: int = 64) -> tuple[Bytes, Floats]:
    """Stick figures in random poses; joints (N, 6, 3) are x, y in pixels and 1 where seen, else 0 and (0, 0).

    Left limbs are orange and right ones blue; a quarter of the hands is covered by a grey bar.
    """
    rng = np.random.default_rng(seed)
    images, joints = np.empty((count, size, size, 3), np.uint8), np.ones((count, len(JOINTS), 3), np.float32)
    for i in range(count):
        image = Image.fromarray(rng.integers(170, 235, (size, size, 3), dtype=np.uint8))
        pen, scale = ImageDraw.Draw(image), size / 64
        hip = np.array([rng.uniform(24, 40), rng.uniform(32, 40)]) * scale
        neck = hip + np.array([rng.uniform(-4, 4), -14]) * scale
        head = neck + np.array([rng.uniform(-2, 2), -5]) * scale
        facing = 1 if rng.uniform() < 0.7 else -1
        points = [head, None, None, hip, None, None]
        for j, (start, low, high) in {1: (neck, 8, 14), 2: (neck, 8, 14), 4: (hip, 11, 17), 5: (hip, 11, 17)}.items():
            side = facing * (1 if j in (1, 4) else -1)
            angle = rng.uniform(-0.6, 1.2) if j < 3 else rng.uniform(1.0, 1.5)
            points[j] = start + scale * rng.uniform(low, high) * np.array([side * np.cos(angle), np.sin(angle)])
        pen.line([*map(tuple, (neck, hip))], fill=(60, 60, 60), width=3)
        for j, start in ((1, neck), (2, neck), (4, hip), (5, hip)):
            colour = (225, 130, 30) if j in (1, 4) else (40, 90, 200)
            pen.line([tuple(start), tuple(points[j])], fill=colour, width=3)
        pen.ellipse([*(head - 4 * scale), *(head + 4 * scale)], fill=(90, 60, 50))
        joints[i, :, :2] = np.stack(points)
        for j in (1, 2):
            if rng.uniform() < 0.25:
                pen.rectangle([*(points[j] - 6 * scale), *(points[j] + 6 * scale)], fill=(128, 128, 128))
                joints[i, j] = 0
        images[i] = np.asarray(image)
    return images, joints


def _shape(pen: ImageDraw.ImageDraw, name: str, box: tuple[float, ...], colour: tuple[int, ...]) -> None:
    left, top, right, bottom = box
    if name == "circle":
        pen.ellipse(box, fill=colour)
    elif name == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], fill=colour)


def things(count: int, seed: int, *, size: int = 64) -> tuple[Bytes, Floats, Numbers]:
    """One shape a picture on a mottled ground, its box xyxy in pixels (N, 4), and its class by number of SHAPES."""
    rng = np.random.default_rng(seed)
    images, boxes = np.empty((count, size, size, 3), np.uint8), np.empty((count, 4), np.float32)
    labels = rng.permutation(np.arange(count) % len(SHAPES))
    for i, label in enumerate(labels):
        image = Image.fromarray(rng.integers(90, 170, (size, size, 3), dtype=np.uint8))
        width, height = rng.uniform(0.2, 0.55, 2) * size
        left, top = rng.uniform(1, size - width - 2), rng.uniform(1, size - height - 2)
        boxes[i] = left, top, left + width, top + height
        _shape(ImageDraw.Draw(image), SHAPES[label], tuple(boxes[i]), tuple(rng.integers(0, 256, 3).tolist()))
        images[i] = np.asarray(image)
    return images, boxes, labels.astype(np.int64)


def scenes(count: int, seed: int, *, size: int = 48) -> tuple[Bytes, list[str], Floats]:
    """One shape, or two beside each other, with a caption, and which shapes are there (N, 3) as 0 and 1."""
    rng = np.random.default_rng(seed)
    images, captions = np.empty((count, size, size, 3), np.uint8), []
    there = np.zeros((count, len(SHAPES)), np.float32)
    for i in range(count):
        image = Image.fromarray(rng.integers(195, 245, (size, size, 3), dtype=np.uint8))
        pen, phrases = ImageDraw.Draw(image), []
        two = rng.uniform() < 0.6
        for k in range(2 if two else 1):
            shape, colour = int(rng.integers(len(SHAPES))), str(rng.choice(list(COLOURS)))
            side = rng.uniform(13, 19)
            left = rng.uniform(2, size / 2 - side) + k * size / 2 if two else rng.uniform(4, size - side - 4)
            top = rng.uniform(4, size - side - 4)
            _shape(pen, SHAPES[shape], (left, top, left + side, top + side), COLOURS[colour])
            phrases.append(f"a {colour} {SHAPES[shape]}")
            there[i, shape] = 1
        captions.append(" left of ".join(phrases))
        images[i] = np.asarray(image)
    return images, captions, there


def patients(people: int, seed: int, *, each: int = 10, size: int = 32) -> tuple[Bytes, Numbers, Numbers]:
    """Slides of patients, each with a stain and a tissue of its own: images, labels (ill or not, by person), people."""
    rng = np.random.default_rng(seed)
    images, labels, owners = [], [], []
    for person in range(people):
        stain, ill = rng.uniform(120, 220, 3), person % 2
        tissue = np.asarray(
            Image.fromarray(rng.normal(128, 40, (6, 6)).clip(0, 255).astype(np.uint8)).resize((size, size))
        )
        for _ in range(each):
            image = Image.fromarray((0.6 * stain + 0.4 * tissue[..., None]).clip(0, 255).astype(np.uint8))
            pen = ImageDraw.Draw(image)
            for _ in range(int(rng.integers(4, 7))):
                x, y, r = *rng.uniform(3, size - 3, 2), rng.uniform(1.6, 2.3) + 1.0 * ill
                pen.ellipse([x - r, y - r, x + r, y + r], fill=(90, 40, 110))
            images.append((np.asarray(image) + rng.normal(0, 10, (size, size, 3))).clip(0, 255).astype(np.uint8))
            labels.append(ill)
            owners.append(person)
    return np.stack(images), np.array(labels, np.int64), np.array(owners, np.int64)


def glyphs(kinds: int, each: int, seed: int, *, size: int = 32) -> tuple[Bytes, Numbers]:
    """Written signs (N, H, W): each kind is a polygonal stroke, each copy of it is written a little otherwise."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for kind in range(kinds):
        stroke = rng.uniform(5, size - 5, (5, 2))
        for _ in range(each):
            image = Image.new("L", (size, size), int(rng.integers(205, 245)))
            wobbled = stroke + rng.normal(0, 1.3, stroke.shape) + rng.uniform(-2, 2, 2)
            ImageDraw.Draw(image).line([*map(tuple, wobbled)], fill=int(rng.integers(10, 70)), width=2)
            images.append((np.asarray(image) + rng.normal(0, 8, (size, size))).clip(0, 255).astype(np.uint8))
            labels.append(kind)
    return np.stack(images), np.array(labels, np.int64)
