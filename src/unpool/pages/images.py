"""Images inside a page, as base64 JPEG."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from unpool.pages.markup import Markup, element

LARGEST = 480  # pixels of the longer side; a page of 50 images then has a few MB
SMALLEST = 96  # images below are shown enlarged, pixel by pixel
QUALITY = 88


class Picture(NamedTuple):
    """One image of a card.

    Attributes:
        label: text below it, such as "truth".
        image: (3, H, W) or (1, H, W) uint8; None leaves the picture out.
    """

    label: str
    image: Tensor | None


class Card(NamedTuple):
    """Pictures of one sample side by side, with its name and a line of text."""

    name: str
    text: str
    pictures: Sequence[Picture]


def grid(cards: Sequence[Card]) -> Markup:
    """Makes a grid of cards, as many in a row as fit."""
    return element("div", {"class": "cards"}, *map(_card, cards))


def picture(image: Tensor, label: str) -> Markup:
    """Makes an image element.

    Args:
        image: (3, H, W) or (1, H, W) uint8.
        label: alternative text.

    Raises:
        ValueError: the image has another shape or type.
    """
    height, width = image.shape[-2:]
    small = {"class": "pixels"} if max(height, width) < SMALLEST else {}
    size = {"width": width, "height": height, "alt": label, "loading": "lazy"}
    return element("img", {"src": jpeg_uri(image), **size, **small})


def jpeg_uri(image: Tensor) -> str:
    """Encodes an image (3, H, W) or (1, H, W) uint8 as a JPEG in a data URI, with at most 480 pixels on a side.

    Raises:
        ValueError: the image has another shape or type.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a picture is (3, H, W) or (1, H, W) uint8, not {tuple(image.shape)} {image.dtype}")
    array = image.detach().cpu().permute(1, 2, 0).contiguous().numpy()
    pil = Image.fromarray(array[..., 0] if image.shape[0] == 1 else array)
    pil.thumbnail((LARGEST, LARGEST))
    file = BytesIO()
    pil.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _card(card: Card) -> Markup:
    shown = [
        element("figure", None, picture(one.image, f"{card.name}: {one.label}"), element("figcaption", None, one.label))
        for one in card.pictures
        if one.image is not None
    ]
    title = element(
        "p", {"class": "title"}, element("b", {"title": card.name}, card.name), element("span", None, card.text)
    )
    return element("div", {"class": "card"}, title, element("div", {"class": "row"}, *shown))
