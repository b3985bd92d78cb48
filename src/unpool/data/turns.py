"""EXIF orientation of an image and of the mask or clean image beside it: both turned, or refused."""

from unpool.data.image_file import Probe
from unpool.types import TargetExif

_UPRIGHT = 1


def seen_size(probed: Probe, orientation: int) -> tuple[int, int]:
    """(height, width) of a file after the turn of an orientation."""
    is_swapped = orientation in (5, 6, 7, 8)
    return (probed.width, probed.height) if is_swapped else (probed.height, probed.width)


def turn_of(probed: Probe) -> int:
    """The EXIF orientation of a file, 1 where it has none or one that means nothing."""
    return probed.orientation


def target_turn(image: Probe, target: Probe, exif: TargetExif) -> int | None:
    """The orientation by which the target of an image is to be turned; None where the two files do not say.

    With "apply", an image and a target of the same orientation are both turned. Where only one of them has one, the
    target was drawn on the stored or on the upright image. The sizes show which where they agree upright and differ as
    stored: one file lies on its side and the other does not.

    Args:
        image: header of the image.
        target: header of its mask or clean image.
        exif: "apply", "ignore" (neither is turned), or "image" (the image is turned, its target was drawn upright).
    """
    if exif != "apply":
        return _UPRIGHT
    one, other = turn_of(image), turn_of(target)
    if one == other:
        return other
    agree_upright = seen_size(image, one) == seen_size(target, other)
    agree_stored = (image.height, image.width) == (target.height, target.width)
    return other if _UPRIGHT in (one, other) and agree_upright and not agree_stored else None


def way_out(image: Probe, target: Probe, *, target_name: str) -> str:
    """What a message about two orientations says: which file has one, and what to set."""
    one, other = turn_of(image), turn_of(target)
    stored = f"set data.exif=ignore if the {target_name}s were drawn on the stored pixels (neither file is turned)"
    if one == _UPRIGHT:
        return f"the {target_name} has EXIF orientation {other}, its image none: {stored}, or turn it and save it so"
    has = f"its image has EXIF orientation {one}, the {target_name} {other if other != _UPRIGHT else 'none'}"
    return f"{has}: {stored}, or data.exif=image if they are upright already (only images are turned)"
