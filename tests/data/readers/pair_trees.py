"""Tiny sets of image pairs, each in its reader's own format."""

import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from tests.data.readers.files import encoded, pixels, written
from unpool.ops.dense_bytes import flo_bytes, pfm_bytes

SIZE, COUNT = (40, 48), 10


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits: (H, W) grey or (H, W, 3) colours, which Pillow does not write."""
    height, width = values.shape[:2]
    kind = 0 if values.ndim == 2 else 2
    rows = values.astype(">u2").reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">2I5B", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def disparity(seed: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    values = torch.rand(size, generator=torch.Generator().manual_seed(seed)) * 6 + 1
    values[0, 0] = torch.nan
    return values


def middlebury(root: Path) -> Path:
    for i in range(COUNT):
        for name in ("im0", "im1"):
            written(root / f"scene{i}" / f"{name}.png", encoded(pixels(*SIZE, 3, seed=2 * i + (name == "im1"))))
        for number in range(2):
            written(root / f"scene{i}" / f"disp{number}.pfm", pfm_bytes(disparity(10 * i + number)))
    return root


def kitti(root: Path) -> Path:
    folder = root / "training"
    for i in range(COUNT):
        name = f"{i:06d}_10.png"
        for number, camera in enumerate(("image_2", "image_3")):
            written(folder / camera / name, encoded(pixels(*SIZE, 3, seed=3 * i + number)))
        written(folder / "image_2" / f"{i:06d}_11.png", encoded(pixels(*SIZE, 3, seed=3 * i + 2)))
        stored = np.random.default_rng(i).integers(256, 1600, SIZE)
        stored[:4] = 0
        flow = np.stack([stored, stored + 32000, np.ones(SIZE, int)], axis=2)
        for occ, noc, values in (("disp_occ_0", "disp_noc_0", stored), ("flow_occ", "flow_noc", flow)):
            seen = values.copy()
            seen[:, :3] = 0
            written(folder / occ / name, deep_png(values))
            written(folder / noc / name, deep_png(seen))
    return root


def flying_chairs(root: Path) -> Path:
    for i in range(1, 7):
        for number in (1, 2):
            written(root / "data" / f"{i:05d}_img{number}.ppm", encoded(pixels(*SIZE, 3, seed=2 * i + number), "PPM"))
        flow = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(i)) * 3
        written(root / "data" / f"{i:05d}_flow.flo", flo_bytes(flow))
    written(root / "FlyingChairs_train_val.txt", b"1\n1\n2\n1\n2\n1\n")
    return root


TREES = {"flying_chairs": flying_chairs, "kitti": kitti, "middlebury": middlebury}
