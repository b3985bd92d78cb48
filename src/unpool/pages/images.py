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
ALONE = 800  # the same, of the only picture of a card
SMALLEST = 96  # images below are shown enlarged, pixel by pixel
QUALITY, EXACT = 88, 91  # of a JPEG, and of one whose pixels are to be seen


class Picture(NamedTuple):
    """One image of a card.

    Attributes:
        label: text below it, such as "truth".
        image: (3, H, W) or (1, H, W) uint8; None leaves the picture out.
    """

    label: str
    image: Tensor | None


class Card(NamedTuple):
    """Pictures of one sample side by side, with its name and a line of text.

    Attributes:
        name: of the sample.
        text: below its name.
        pictures: from left to right.
        is_right: shown in colour and in words; None shows neither.
        is_exact: the pictures are shown pixel by pixel.
    """

    name: str
    text: str
    pictures: Sequence[Picture]
    is_right: bool | None = None
    is_exact: bool = False


def grid(cards: Sequence[Card]) -> Markup:
    """Makes a grid of cards: those of one picture as many in a row as fit, others one below the other."""
    return element("div", {"class": f"cards {_layout(cards)}"}, *map(_card, cards))


def _layout(cards: Sequence[Card]) -> str:
    shown = [[one.image for one in card.pictures if one.image is not None] for card in cards]
    if max(map(len, shown), default=0) > 1:
        return "wide"
    return "tiny" if all(max(image.shape[-2:]) < SMALLEST for images in shown for image in images) else "single"


def picture(image: Tensor, label: str, *, most: int = LARGEST, quality: int = QUALITY) -> Markup:
    """Makes an image element.

    Args:
        image: (3, H, W) or (1, H, W) uint8.
        label: alternative text.
        most: pixels of the longer side.
        quality: of the JPEG, 1 to 100.

    Raises:
        ValueError: the image has another shape or type.
    """
    height, width = image.shape[-2:]
    small = {"class": "pixels"} if max(height, width) < SMALLEST else {}
    size = {"width": width, "height": height, "alt": label, "loading": "lazy"}
    return element("img", {"src": jpeg_uri(image, most=most, quality=quality), **size, **small})


def jpeg_uri(image: Tensor, *, most: int = LARGEST, quality: int = QUALITY) -> str:
    """Encodes an image (3, H, W) or (1, H, W) uint8 as a JPEG in a data URI, with at most `most` pixels on a side.

    Raises:
        ValueError: the image has another shape or type.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a picture is (3, H, W) or (1, H, W) uint8, not {tuple(image.shape)} {image.dtype}")
    array = image.detach().cpu().permute(1, 2, 0).contiguous().numpy()
    pil = Image.fromarray(array[..., 0] if image.shape[0] == 1 else array)
    pil.thumbnail((most, most))
    file = BytesIO()
    pil.save(file, "JPEG", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _card(card: Card) -> Markup:
    shown = [(one.label, one.image) for one in card.pictures if one.image is not None]
    most = ALONE if len(shown) == 1 or card.is_exact else LARGEST
    quality = EXACT if card.is_exact else QUALITY
    figures = [
        element(
            "figure",
            None,
            picture(image, f"{card.name}: {label or 'image'}", most=most, quality=quality),
            element("figcaption", None, label) if label else "",
        )
        for label, image in shown
    ]
    title = element("p", {"class": "title"}, _verdict(card), element("b", None, card.name))
    row = element("div", {"class": "row exact" if card.is_exact else f"row n{len(figures)}"}, *figures)
    return element("div", {"class": "card"}, title, row, element("p", {"class": "text"}, card.text))


def _verdict(card: Card) -> Markup:
    if card.is_right is None:
        return Markup()
    word = "right" if card.is_right else "wrong"
    return element("span", {"class": f"verdict {word}"}, word)
