"""How many channels each image of a pair has."""

from unpool.errors import DataError
from unpool.types import Decoding


def channels_of_one(decoding: Decoding, what: str) -> int:
    """The channels of each image: 3 where a sample's image has 6, both images behind one another, 1 where it has 2.

    Raises:
        DataError: another number, or bands are chosen.

    Example:
        >>> channels_of_one(Decoding(channels=2), "stereo scenes")
        1
    """
    if decoding.channels not in (2, 6):
        raise DataError(
            f"data.channels is {decoding.channels} and {what} are pairs of images, both in one: set it to 6 for "
            "colour or 2 for grey"
        )
    if decoding.bands is not None:
        raise DataError(f"data.bands is {list(decoding.bands)} and {what} are pairs of images: leave it out")
    return decoding.channels // 2
