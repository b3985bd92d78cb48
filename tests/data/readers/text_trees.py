"""Tiny sets of images with captions, and of images with a text."""

import json
from pathlib import Path

from tests.data.readers.files import encoded, pixels, written

CAPTIONS = (
    *("A dog runs on the grass .", "the dog plays with a ball", "A man sits , on the grass", "a dog and a man"),
    *("two dogs run in the snow", "a ball on the snow"),
)


def picture(path: Path, seed: int, size_hw: tuple[int, int] = (40, 34)) -> None:
    written(path, encoded(pixels(*size_hw, 3, seed=seed), "JPEG" if path.suffix == ".jpg" else "PNG"))


def captions_of(number: int) -> tuple[str, ...]:
    """Five captions of an image, which share words with those of others: most occur five times and more."""
    return tuple(CAPTIONS[(number + i) % len(CAPTIONS)] for i in range(5))


def flickr8k(root: Path) -> Path:
    lines = []
    for i in range(8):
        picture(root / "Flicker8k_Dataset" / f"{i}.jpg", i)
        lines += [f"{i}.jpg#{k}\t{caption}\n" for k, caption in reversed(list(enumerate(captions_of(i))))]
    texts = root / "Flickr8k_text"
    written(texts / "Flickr8k.token.txt", "".join(lines).encode())
    for name, numbers in (("train", range(5)), ("dev", (5, 6)), ("test", (7,))):
        written(texts / f"Flickr_8k.{name}Images.txt", "".join(f"{i}.jpg\n" for i in numbers).encode())
    return root


def coco_captions(root: Path) -> Path:
    for part, count, seed in (("train2017", 5, 0), ("val2017", 3, 10)):
        images, annotations = [], []
        for i in range(count):
            picture(root / part / f"{i}.png", seed + i)
            images.append({"id": i, "file_name": f"{i}.png", "height": 40, "width": 34})
            annotations += [
                {"id": 10 * i + k, "image_id": i, "caption": one} for k, one in enumerate(captions_of(i + seed))
            ]
        content = {"images": images, "annotations": annotations}
        written(root / "annotations" / f"captions_{part}.json", json.dumps(content).encode())
    return root


def captions_csv(root: Path) -> Path:
    rows = ["image,caption\n"]
    for i in range(8):
        picture(root / "images" / f"{i}.png", i)
        rows += [f'{i}.png,"{caption}"\n' for caption in captions_of(i)]
    written(root / "captions.csv", "".join(rows).encode())
    return root


def folder_text(root: Path) -> Path:
    rows = ["file,text\n"]
    for i in range(8):
        picture(root / f"{i}.png", i, (36, 60 + i))
        rows.append(f"{i}.png,{('17', '0', '221', 'é7')[i % 4]}\n")
    written(root / "labels.csv", "".join(rows).encode())
    return root


TREES = {
    "captions_csv": captions_csv,
    "coco_captions": coco_captions,
    "flickr8k": flickr8k,
    "folder_text": folder_text,
}
