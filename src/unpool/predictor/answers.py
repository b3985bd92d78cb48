"""The answers about some images, which a notebook shows as pictures."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from unpool.pages import blocks
from unpool.pages.images import picture
from unpool.pages.markup import Markup, element, joined

SHOWN = 8  # pictures
LEAST_SIDE = 192  # pixels of the longer side, up to which they are enlarged


class Answers(list[dict[str, Any]]):
    """One answer an image, a list; a notebook shows the first of them drawn on their images.

    Args:
        records: of each image.
        images: as they were passed, in the same order; they are read again to be shown.
        draw: from an image and its answer to a picture (3, H, W) uint8.
    """

    def __init__(
        self, records: Sequence[dict[str, Any]], images: Sequence[Any], draw: Callable[[Any, dict[str, Any]], Tensor]
    ) -> None:
        super().__init__(records)
        self._images, self._draw = images, draw

    def _repr_html_(self) -> str:
        shown = list(zip(self, self._images, strict=False))[:SHOWN]
        figures = [self._figure(number, record, image) for number, (record, image) in enumerate(shown, start=1)]
        rest = [blocks.note(f"and {len(self) - SHOWN} more")] if len(self) > SHOWN else []
        return joined(*figures, *rest)

    def _figure(self, number: int, record: dict[str, Any], image: Any) -> Markup:
        shown = picture(_large_enough(self._draw(image, record)), f"image {number}")
        text = element("figcaption", None, _in_words(record) or f"image {number}")
        return element("figure", {"style": "display: inline-block; margin: 4px"}, shown, text)


def _in_words(record: dict[str, Any]) -> str:
    """Names and plain numbers of an answer."""
    texts = {key: value for key, value in record.items() if isinstance(value, str)}
    numbers = {key: f"{float(value):.3g}" for key, value in record.items() if isinstance(value, Real)}
    return ", ".join(f"{key} {value}" for key, value in {**texts, **numbers}.items())


def _large_enough(image: Tensor) -> Tensor:
    """The picture, each pixel of a small one as a square."""
    times = max(1, LEAST_SIDE // max(image.shape[-2:]))
    return image.repeat_interleave(times, -1).repeat_interleave(times, -2)
