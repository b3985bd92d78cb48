"""Small generated sets in the layouts that the public scripts read."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

TEXTURES = ("bars", "bricks", "dots", "rings", "rows", "speckle")  # all of them the same in a mirror
SIDE = 96
SKY, BUILDING, POLE, ROAD, TREE, CAR = 0, 1, 2, 3, 5, 8  # numbers of CamVid's classes
COLOURS = {SKY: (150, 180, 215), BUILDING: (150, 95, 75), POLE: (200, 195, 170), ROAD: (85, 85, 95)}
COLOURS |= {TREE: (60, 105, 50), CAR: (170, 40, 45)}
STREET_HW = (180, 240)


def write_textures(root: Path, *, train: int = 40, val: int = 15, val_name: str = "val") -> None:
    """Photographs of textures, a folder for each class below `train` and below the folder of validation."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), (val_name, val)):
        for name in TEXTURES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(_texture(name, generator)).save(folder / f"{i:03}.jpg", quality=90)


def _texture(name: str, generator: np.random.Generator) -> np.ndarray:
    """One picture (H, W, 3) uint8: where the texture is high one colour, where it is low another, in changing light."""
    y, x = np.mgrid[:SIDE, :SIDE] + generator.uniform(0, SIDE, (2, 1, 1))
    step = generator.uniform(9, 14)
    across, down = np.sin(2 * np.pi * x / step), np.sin(2 * np.pi * y / step)
    shifted = np.sin(2 * np.pi * (x / (2 * step) + 0.5 * (y // (step / 2) % 2)))
    middle = generator.uniform(0.3, 0.7, 2) * SIDE
    far = np.hypot(*(np.mgrid[:SIDE, :SIDE] - middle[:, None, None]))
    high = {
        "bars": across,
        "rows": down,
        "bricks": np.minimum(np.abs(shifted), np.abs(np.sin(2 * np.pi * y / step))) * 3 - 1,
        "dots": across + down - 0.6,
        "rings": np.sin(2 * np.pi * far / step),
        "speckle": generator.normal(0, 1, (SIDE // 3, SIDE // 3)).repeat(3, 0).repeat(3, 1),
    }[name]
    share = (1 / (1 + np.exp(-4 * high)))[..., None]
    light, dark = generator.uniform(110, 235, 3), generator.uniform(15, 110, 3)
    if generator.random() < 0.5:
        light, dark = dark, light
    picture = share * light + (1 - share) * dark + generator.normal(0, 8, (SIDE, SIDE, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write_streets(root: Path, *, train: int = 40, val: int = 16, test: int = 8) -> None:
    """Drawn streets and their masks of class numbers, as CamVid lies: `train`, `trainannot`, and so on."""
    generator = np.random.default_rng(1)
    for split, count in (("train", train), ("val", val), ("test", test)):
        for name in (split, f"{split}annot"):
            (root / name).mkdir(parents=True)
        for i in range(count):
            mask = _street(generator)
            file = f"{split}_{i:03}.png"
            Image.fromarray(_painted(mask, generator)).save(root / split / file)
            Image.fromarray(mask).save(root / f"{split}annot" / file)


def _street(generator: np.random.Generator) -> np.ndarray:
    """Class numbers (H, W) uint8: buildings of different heights left and right of a road, trees, a pole, a car."""
    height, width = STREET_HW
    canvas = Image.new("L", (width, height), SKY)
    draw = ImageDraw.Draw(canvas)
    ground = int(generator.uniform(0.55, 0.7) * height)
    left = 0
    while left < width:
        wide = int(generator.uniform(0.12, 0.3) * width)
        kind = generator.random()
        top = int(generator.uniform(0.08, 0.45) * height)
        if kind < 0.6:
            draw.rectangle((left, top, left + wide, ground), fill=BUILDING)
        elif kind < 0.8:
            draw.ellipse((left, top + 20, left + wide, ground + 10), fill=TREE)
        left += wide + int(generator.uniform(0, 0.08) * width)
    draw.rectangle((0, ground, width, height), fill=ROAD)
    pole = int(generator.uniform(0.1, 0.9) * width)
    draw.rectangle((pole, ground - 60, pole + 3, ground + 8), fill=POLE)
    car = int(generator.uniform(0.1, 0.7) * width)
    draw.rectangle((car, ground + 5, car + 50, ground + 30), fill=CAR)
    return np.array(canvas)


def _painted(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    picture = np.zeros((*mask.shape, 3))
    for number, colour in COLOURS.items():
        picture[mask == number] = np.array(colour) * generator.uniform(0.75, 1.25)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    windows = (mask == BUILDING) & (y % 14 < 6) & (x % 12 < 5)
    picture[windows] *= 0.55
    picture[mask == TREE] += generator.normal(0, 25, (int((mask == TREE).sum()), 1))
    return (picture + generator.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
