"""Vectors as maps: what a network made convolutional does where the classifier has one vector for each image."""

from torch import Tensor


def large_enough(image: Tensor, least: tuple[int, int]) -> Tensor:
    """The image as it is.

    Raises:
        ValueError: it is smaller than those of the classifier.
    """
    if image.shape[-2] < least[0] or image.shape[-1] < least[1]:
        raise ValueError(
            f"the image is {tuple(image.shape[-2:])} (H, W) and the classifier's own size is {least}: give an image "
            "of at least that, or enlarge it"
        )
    return image


def as_rows(x: Tensor) -> Tensor:
    """One vector for each position: (B, C, H, W) -> (B*H*W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def as_map(rows: Tensor, like: Tensor) -> Tensor:
    """The way back: (B*H*W, K) -> (B, K, H, W), the sizes being those of `like`, (B, C, H, W)."""
    return rows.unflatten(0, (like.shape[0], like.shape[2], like.shape[3])).permute(0, 3, 1, 2)
