"""From a mask file to the ids in it, exactly as stored."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unpool.data.image_file import Unusable, opened, printable, recognised, stored_as
from unpool.data.tiff import mask_values


def decode_mask(path: Path, *, palette: Sequence[tuple[int, int, int]] = ()) -> Tensor:
    """The ids of a mask, exactly as stored.

    Grey values of any number of bits and palette indices are ids as they stand, whichever of them is shown black; the
    colours of a colour mask become their positions in `palette`. No orientation is applied.

    Returns:
        (H, W) int32.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: the mask is a JPEG, has an alpha channel, or holds colours that the palette does not.
    """
    name = printable(path)
    with recognised(path, name) as (form, stream):
        if form == "TIFF" and (grey := mask_values(stream)) is not None:
            return torch.from_numpy(grey)
    with opened(path, name) as image:
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            raise Unusable(name, f"mask has an alpha channel (mode {image.mode}){_examples(image)}; re-export without")
        stored = _undo_scaling(image)
        image.load()
        if image.mode == "RGB":
            ids = colour_ids(np.asarray(image), palette, name, is_lossy=image.format == "JPEG")
        elif image.format == "JPEG":
            raise Unusable(name, "mask is lossy JPEG, its ids are smeared; re-export as PNG")
        elif image.mode in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
            ids = stored(np.asarray(image).astype(np.int32))
        else:
            raise Unusable(name, f"mask has mode {image.mode}; expected grey, palette or RGB: re-export as PNG")
    return torch.from_numpy(ids)


def colour_ids(
    colours: np.ndarray, palette: Sequence[tuple[int, int, int]], name: str, *, is_lossy: bool = False
) -> np.ndarray:
    """(H, W, 3) uint8 colours -> (H, W) int32 positions in the palette; `Unusable` lists the colours it lacks."""
    if not palette:
        raise Unusable(name, "mask is a colour image and its classes have no colours; add r g b to each class line")
    packed = (colours.astype(np.int32) << np.array([16, 8, 0], np.int32)).sum(axis=2, dtype=np.int32)
    unique, where = np.unique(packed, return_inverse=True)
    position = {(r << 16) | (g << 8) | b: i for i, (r, g, b) in enumerate(palette)}
    ids = np.array([position.get(int(c), -1) for c in unique], np.int32)
    unknown = unique[ids < 0]
    if is_lossy:
        raise Unusable(name, f"{len(unknown):,} unknown colours: mask is lossy JPEG; re-export as PNG")
    if len(unknown):
        listed = ", ".join(_colour_text(int(c)) for c in unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        hint = "give each its line in classes.txt, or re-export without anti-aliasing"
        raise Unusable(name, f"{len(unknown):,} unknown colours in the mask: {listed}; {hint}")
    return ids[where].reshape(packed.shape)


def _colour_text(packed: int) -> str:
    return f"({packed >> 16}, {packed >> 8 & 255}, {packed & 255})"


def _examples(image: Image.Image) -> str:
    image.load()
    counts = image.convert("RGBA").getcolors(maxcolors=image.width * image.height) or []
    clear = sorted({colour for _, colour in counts if isinstance(colour, tuple) and colour[3] != 255})[:8]
    return f", colours with alpha: {', '.join(map(str, clear))}" if clear else ""


def _undo_scaling(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """Pillow stretches 2- and 4-bit grey, and the values of a PGM, to the full range; an id is what was stored."""
    rawmode, most = stored_as(image)
    if rawmode in ("L;2", "L;4"):
        step = 85 if rawmode == "L;2" else 17
        return lambda values: values // step
    if image.format == "PPM" and isinstance(most, int):
        full = 255 if image.mode == "L" else 65535
        return lambda values: np.rint(values * (most / full)).astype(np.int32)
    return lambda values: values
