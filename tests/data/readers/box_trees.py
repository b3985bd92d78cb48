"""Tiny data sets of boxes, each in its reader's own format."""

import json
from pathlib import Path

import numpy as np

from tests.data.readers.files import encoded, pixels, run_lengths, written

HEIGHT, WIDTH = 40, 52
BOXES = ((4, 6, 24, 30), (20, 10, 50, 34))  # corners, from the outer edge of the first pixel


def picture(path: Path, seed: int) -> Path:
    return written(path, encoded(pixels(HEIGHT, WIDTH, 3, seed=seed), "PNG"))


def voc_text(*objects: tuple, size: tuple[int, int] = (HEIGHT, WIDTH), encoding: str = "utf-8") -> str:
    """An annotation file; each object is (name, corners as VOC counts them, further tags)."""
    things = "".join(
        f"<object><name>{name}</name>{''.join(more)}<bndbox>"
        + "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for name, box, *more in objects
    )
    head = f'<?xml version="1.0" encoding="{encoding}"?><annotation><filename>other.jpg</filename>'
    return f"{head}<size><width>{size[1]}</width><height>{size[0]}</height></size>{things}</annotation>"


def counted_from_one(box: tuple[float, ...]) -> tuple[float, ...]:
    return box[0] + 1, box[1] + 1, box[2], box[3]


def voc(root: Path) -> Path:
    """Six images with an ant and a bee each, the bee difficult in the first; lists of four and two."""
    for i in range(6):
        picture(root / "JPEGImages" / f"{i}.png", i)
        difficult = f"<difficult>{int(i == 0)}</difficult>"
        things = [("ant", counted_from_one(BOXES[0])), ("bee", counted_from_one(BOXES[1]), difficult)]
        written(root / "Annotations" / f"{i}.xml", voc_text(*things).encode())
    for name, numbers in (("train", "0123"), ("val", "45")):
        written(root / "ImageSets" / "Main" / f"{name}.txt", "\n".join([*numbers, ""]).encode())
    return root


def voc_of_one(root: Path) -> Path:
    """The same images, on even ones the ant alone, on the others the bee."""
    for i in range(len(list((voc(root) / "JPEGImages").glob("*")))):
        text = voc_text((("ant", "bee")[i % 2], counted_from_one(BOXES[i % 2])))
        written(root / "Annotations" / f"{i}.xml", text.encode())
    return root


def coco_content(part: str) -> dict:
    """Three images, the last without annotations; on the first a crowd as well."""
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[20:36, 2:10] = True
    images = [{"id": 7 * i, "file_name": f"{part}{i}.png", "height": HEIGHT, "width": WIDTH} for i in range(3)]
    annotations = []
    for image in images[:2]:
        for number, (left, top, right, bottom) in enumerate(BOXES):
            corners = [left, top, right, top, right, bottom, left, bottom]
            box = [left, top, right - left, bottom - top]
            thing = {"bbox": box, "area": float(box[2] * box[3]), "iscrowd": 0, "segmentation": [corners]}
            head = {"id": len(annotations), "image_id": image["id"], "category_id": (3, 90)[number]}
            annotations.append(head | thing)
    of_many = {"iscrowd": 1, "bbox": [2, 20, 8, 16], "area": 128.0, "segmentation": run_lengths(crowd)}
    annotations.append({"id": 50, "image_id": 0, "category_id": 3} | of_many)
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 90, "name": "bee"}, {"id": 3, "name": "ant"}],
    }


def coco_instances(root: Path) -> Path:
    for part in ("train2017", "val2017"):
        content = coco_content(part)
        for i, image in enumerate(content["images"]):
            picture(root / part / image["file_name"], i + 10 * (part == "val2017"))
        written(root / "annotations" / f"instances_{part}.json", json.dumps(content).encode())
    return root


def yolo_line(number: int, box: tuple[float, ...], size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    left, top, right, bottom = box
    values = ((left + right) / 2 / size[1], (top + bottom) / 2 / size[0], (right - left) / size[1])
    return f"{number} {' '.join(f'{value:.6f}' for value in (*values, (bottom - top) / size[0]))}\n"


def yolo(root: Path) -> Path:
    """Four images of train and two of val, an ant and a bee on each; the last of train has no label file."""
    written(
        root / "data.yaml",
        b"path: ../datasets/insects\ntrain: images/train\nval: images/val\nnames:\n  0: ant\n  1: bee\n",
    )
    for i in range(6):
        part = "train" if i < 4 else "val"
        picture(root / "images" / part / f"{i}.png", i)
        if i != 3:
            lines = "".join(yolo_line(number, box) for number, box in enumerate(BOXES))
            written(root / "labels" / part / f"{i}.txt", lines.encode())
    return root


def boxes_csv(root: Path) -> Path:
    """One file a class, six images each, whose names are those of the other class too."""
    for number, name in enumerate(("ant", "bee")):
        rows = []
        for i in range(6):
            picture(root / "images" / name / f"{i}.png", i + 10 * number)
            rows.append(",".join([f"{i}.png", *map(str, BOXES[number]), name]))
        written(root / "annotations" / f"{name}.csv", "\n".join([*rows, ""]).encode())
    return root


CUB_PARTS = ("beak", "left eye", "right eye")


def cub(root: Path) -> Path:
    """Two species, three images of train and two of the test; the right eye is hidden."""
    tables: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    tables |= {"bounding_boxes": [], "parts/part_locs": []}
    for i in range(5):
        species = 1 + i % 2
        file = f"00{species}.{('Ani', 'Auklet')[species - 1]}/{i}.png"
        picture(root / "images" / file, i)
        number = 3 * i + 2
        tables["images"].append(f"{number} {file}")
        tables["image_class_labels"].append(f"{number} {species}")
        tables["train_test_split"].append(f"{number} {int(i < 3)}")
        tables["bounding_boxes"].append(f"{number} 4.0 6.0 20.0 24.0")
        tables["parts/part_locs"] += [f"{number} 1 8.0 9.5 1", f"{number} 2 10.0 {7 + i}.0 1", f"{number} 3 0.0 0.0 0"]
    tables["classes"] = ["1 001.Ani", "2 002.Auklet"]
    tables["parts/parts"] = [f"{number} {name}" for number, name in enumerate(CUB_PARTS, start=1)]
    for name, lines in tables.items():
        written(root / f"{name}.txt", "\n".join([*lines, ""]).encode())
    return root


TREES = {
    "boxes_csv": boxes_csv,
    "coco_instances": coco_instances,
    "cub": cub,
    "voc": voc,
    "yolo": yolo,
}
