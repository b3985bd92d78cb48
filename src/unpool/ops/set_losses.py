"""Losses over the pixels of an image together, which compare regions as their overlap does: Dice and Lovász-softmax.

Each image gives one number, the mean over the classes that its mask shows, and counts once, so that batches add up.
A rare class weighs as much as a frequent one, and pixels that are IGNORE take no part.
"""

import torch
from torch import Tensor

from unpool.types import IGNORE, Term


def dice(logits: Tensor, mask: Tensor) -> Term:
    """Returns 1 minus the soft Dice coefficient of each class of an image, averaged; the count is that of images.

    The coefficient is 2 sum(p g) / (sum(p^2) + sum(g)) over labelled pixels, with p the probability of the class and g
    1 where it stands. Images without a labelled pixel count nothing.

    Args:
        logits: (B, N, H, W) float; their softmax over N is taken here.
        mask: (B, H, W) int64 class or IGNORE.

    Source: Milletari et al. 2016 (V-Net), arXiv:1606.04797, section 3.

    Example:
        >>> mask = torch.tensor([[[0, 0, 1, IGNORE]]])
        >>> sure = 100 * torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]])
        >>> dice(sure, mask)
        Term(sum=tensor(0.), count=tensor(1.), weight=1.0)
    """
    is_labelled = mask != IGNORE
    truth = torch.stack([mask == label for label in range(logits.shape[1])], 1)  # (B, N, H, W)
    probability = logits.float().softmax(1) * is_labelled[:, None]
    overlap = (probability * truth).sum((2, 3))
    pixels = truth.sum((2, 3)).float()
    coefficient = 2 * overlap / (probability.square().sum((2, 3)) + pixels).clamp_min(1e-12)
    return _over_images(1 - coefficient, pixels > 0)


def lovasz_softmax(logits: Tensor, mask: Tensor) -> Term:
    """Returns the Lovász extension of 1 minus the IoU of each class of an image, averaged; the count is that of images.

    Where every pixel is certain, it is 1 minus the IoU; between, it is the tightest convex function of the errors.
    Images without a labelled pixel count nothing.

    Args:
        logits: (B, N, H, W) float; their softmax over N is taken here.
        mask: (B, H, W) int64 class or IGNORE.

    Source: Berman et al. 2018, arXiv:1705.08790, equations 8 to 11, over the classes of each image.

    Example:
        >>> mask = torch.tensor([[[0, 0, 1, IGNORE]]])
        >>> sure = 100 * torch.tensor([[[[1.0, 0, 0, 0]], [[0.0, 1, 1, 1]]]])
        >>> lovasz_softmax(sure, mask)  # both classes have IoU 1/2
        Term(sum=tensor(0.5000), count=tensor(1.), weight=1.0)
    """
    labels = torch.arange(logits.shape[1], device=mask.device)[:, None]
    losses, shown = [], []
    for scores, one in zip(logits.float(), mask, strict=True):
        is_labelled = one != IGNORE
        truth = (one[is_labelled] == labels).float()  # (N, P)
        losses.append(_lovasz((truth - scores[:, is_labelled].softmax(0)).abs(), truth))
        shown.append(truth.any(1))
    return _over_images(torch.stack(losses), torch.stack(shown))


def _lovasz(errors: Tensor, truth: Tensor) -> Tensor:
    """(N,) extensions of the Jaccard loss at errors (N, P), by the gradient of algorithm 1."""
    if not errors.shape[1]:
        return errors.sum(1)
    ordered, order = errors.sort(dim=1, descending=True, stable=True)
    sorted_truth = truth.gather(1, order)
    total = truth.sum(1, keepdim=True)
    union = total + (1 - sorted_truth).cumsum(1)
    jaccard = 1 - (total - sorted_truth.cumsum(1)) / union.clamp_min(1)
    first = torch.zeros_like(total)
    return (ordered * jaccard.diff(dim=1, prepend=first)).sum(1)


def _over_images(losses: Tensor, shown: Tensor) -> Term:
    """Means over the classes (B, N) that each image shows, added up, and the images that show any."""
    classes = shown.sum(1)
    each = torch.where(shown, losses, 0.0).sum(1) / classes.clamp_min(1)
    return Term(each.sum(), (classes > 0).sum().float())
