"""A tiny data set in each reader's own format."""

import gzip
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.data.readers import box_trees, imagenet_trees, pair_trees, text_trees
from tests.data.readers.files import encoded, pixels, run_lengths, written


def camvid(root: Path) -> Path:
    for split in ("train", "val"):
        lines = []
        for i in range(3):
            image, mask = f"CamVid/{split}/{i}.png", f"CamVid/{split}annot/{i}.png"
            written(root / image, encoded(pixels(6, 8, 3, seed=i + 10 * (split == "val"))))
            written(root / mask, encoded(pixels(6, 8, most=12, seed=i)))
            lines.append(f"{image} {mask}\n")
        written(root / "CamVid" / f"{split}.txt", "".join(lines).encode())
    return root


def folder(root: Path) -> Path:
    for name in ("ant", "bee"):
        for i in range(5):
            written(root / name / f"{name}{i}.png", encoded(pixels(4 + i, 7, 3, seed=i + 5 * (name == "bee"))))
    return root


def folder_masks(root: Path) -> Path:
    written(root / "classes.txt", b"sky\nroad\ncar\n")
    for i in range(5):
        written(root / "images" / f"{i}.png", encoded(pixels(6, 4 + i, 3, seed=i)))
        written(root / "masks" / f"{i}.png", encoded(pixels(6, 4 + i, most=3, seed=i)))
    return root


def images(root: Path) -> Path:
    for i in range(5):
        written(root / f"{i}.png", encoded(pixels(4 + i, 7, 3, seed=i)))
    return root


def image_pairs(root: Path) -> Path:
    for i in range(5):
        for name in ("noisy", "clean"):
            written(root / name / f"{i}.png", encoded(pixels(4 + i, 7, 3, seed=i + 10 * (name == "noisy"))))
    return root


def archived(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def cifar(root: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        names = [f"{split}/{name}/{i:04d}.jpg" for name in ("plane", "cat") for i in range(count)]
        archived(root / f"{split}.tar.gz", {n: encoded(pixels(32, 32, 3, seed=len(n)), "JPEG") for n in names})
    return root


def cifar_batches(root: Path) -> Path:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = pixels(4, 3073, seed=len(name))
        records[:, 0] = [3, 1, 9, 0]
        written(root / "cifar-10-batches-bin" / f"{name}.bin", records.tobytes())
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    written(root / "cifar-10-batches-bin" / "batches.meta.txt", "\n".join([*names, "", ""]).encode())
    return root


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def mnist(root: Path) -> Path:
    for stem, count in (("train", 6), ("t10k", 4)):
        written(root / f"{stem}-images-idx3-ubyte.gz", gzip.compress(idx(pixels(count, 28, 28))))
        written(root / f"{stem}-labels-idx1-ubyte.gz", gzip.compress(idx(np.arange(count, dtype=np.uint8))))
    return root


def mat_file(path: Path, name: str, values: np.ndarray, *, packed: bool = True) -> Path:
    """A MATLAB file of version 5 with one array of doubles."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    shape = np.array(values.shape, "<i4").tobytes()
    label = name.encode()
    named = struct.pack("<I", len(label) << 16 | 1) + label.ljust(4, b"\0") if len(label) <= 4 else element(1, label)
    parts = element(6, struct.pack("<II", 6, 0)) + element(5, shape) + named
    matrix = element(14, parts + element(9, values.astype("<f8").tobytes(order="F")))
    small = zlib.compress(matrix)
    body = struct.pack("<II", 15, len(small)) + small if packed else matrix
    return written(path, b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack("<H", 0x0100) + b"IM" + body)


def lsp(root: Path) -> Path:
    joints = np.random.default_rng(0).uniform(2, 22, (14, 3, 5))
    joints[:, 2] = 1
    joints[3, :, 1] = (-20, 0, 0)  # hidden
    mat_file(root / "joints.mat", "joints", joints)
    for i in range(5):
        written(root / "images" / f"im{i + 1:05d}.jpg", encoded(pixels(24 + i, 30, 3, seed=i), "JPEG"))
    written(root / "train.txt", b"1\n2\n3\n")
    written(root / "val.txt", b"4\n5\n")
    return root


COCO_JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)


def coco(root: Path) -> Path:
    """Two people an image; on the first also a crowd below them and somebody without joints, right beside it."""
    crowd = np.zeros((40, 30), bool)
    crowd[20:36, 2:10] = True
    rng = np.random.default_rng(0)
    for part in ("train2017", "val2017"):
        images, people = [], []
        for i in range(3):
            written(root / part / f"{i}.png", encoded(pixels(40, 30 + i, 3, seed=i + 10 * (part == "val2017"))))
            images.append({"id": i, "file_name": f"{i}.png", "height": 40, "width": 30 + i})
            for j in range(2):
                joints = np.concatenate([rng.integers(5, 25, (17, 2)), rng.integers(0, 3, (17, 1))], axis=1)
                joints[0, 2], joints[joints[:, 2] == 0] = 2, 0
                shared = {"image_id": i, "category_id": 1, "iscrowd": 0, "area": 200.5, "bbox": [4.0, 4.0, 22.0, 21.5]}
                shared["segmentation"] = [[4, 4, 26, 4, 26, 25.5, 4, 25.5]]
                known = {"keypoints": joints.flatten().tolist(), "num_keypoints": int((joints[:, 2] > 0).sum())}
                people.append({"id": 10 * i + j, **shared, **known})
        people.append({**people[0], "id": 90, "iscrowd": 1, "num_keypoints": 0, "segmentation": run_lengths(crowd)})
        people.append({**people[0], "id": 91, "num_keypoints": 0, "segmentation": [[20, 28, 28, 28, 28, 38, 20, 38]]})
        person = {"id": 1, "name": "person", "keypoints": list(COCO_JOINTS), "skeleton": [[16, 14], [6, 7]]}
        content = {"images": images, "annotations": people, "categories": [person]}
        written(root / "annotations" / f"person_keypoints_{part}.json", json.dumps(content).encode())
    return root


def lfw(root: Path) -> Path:
    """Six people to learn from, and pairs of four others."""
    people = [f"Ann_{letter}" for letter in "ABCDEF"]
    others = [f"Bob_{letter}" for letter in "ABCD"]
    for number, person in enumerate((*people, *others)):
        for i in range(1, 4):
            values = pixels(24, 24, 3, seed=10 * number + i)
            written(root / "lfw" / person / f"{person}_{i:04d}.jpg", encoded(values, "JPEG"))
    written(root / "peopleTrain.txt", "\n".join(["6", *(f"{person}\t3" for person in people), ""]).encode())
    lines = ["1\t2", "Bob_A\t1\t2", "Bob_B\t2\t3", "Bob_C\t1\tBob_D\t1", "Bob_A\t3\tBob_B\t1", ""]
    written(root / "pairsVal.txt", "\n".join(lines).encode())
    return root


def person_folders(root: Path) -> Path:
    for number in range(6):
        for i in range(1, 8):
            written(root / f"s{number}" / f"{i}.png", encoded(pixels(24, 20, 3, seed=10 * number + i)))
    return root


def person_pairs(root: Path) -> Path:
    person_folders(root)
    rows = [
        "first,second,same",
        "s0/1.png,s0/2.png,1",
        "s1/1.png,s1/2.png,1",
        "s0/3.png,s1/4.png,0",
        "s0/1.png,s1/5.png,0",
    ]
    written(root / "pairs.csv", "\n".join(rows).encode())
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "camvid": camvid,
    "cifar": cifar,
    "coco_people": coco,
    "coco_scenes": coco,
    "folder": folder,
    "folder_masks": folder_masks,
    "image_pairs": image_pairs,
    "imagenet": imagenet_trees.imagenet,
    "images": images,
    "lfw": lfw,
    "lsp": lsp,
    "mnist": mnist,
    "person_folders": person_folders,
    "person_pairs": person_pairs,
    **box_trees.TREES,
    **pair_trees.TREES,
    **text_trees.TREES,
}
