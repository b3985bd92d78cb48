"""Semi-global matching: scores of disparities that neighbours along four lines agree on.

Along each line the best sum of costs is followed, a change of disparity by one pixel costs P1, by more P2
(Hirschmueller 2008, "Stereo processing by semiglobal matching and mutual information", equation 13; Zbontar and LeCun
2016, arXiv:1510.05970, section 4.2).

Differs from both in that the penalties do not depend on the gradients of the images.
"""

import torch
from torch import Tensor


def semi_global_scores(scores: Tensor, penalties: tuple[float, float]) -> Tensor:
    """The mean over four lines of the scores along the best way to each pixel and disparity.

    Args:
        scores: (B, D, H, W).
        penalties: of a change by one disparity, and by more, in the unit of the scores.

    Returns:
        (B, D, H, W) in that unit.

    Example:
        >>> scores = torch.tensor([[[[1.0, 0.4, 1.0]], [[0.0, 0.5, 0.0]]]])  # (1, 2, 1, 3)
        >>> scores.argmax(1)[0, 0].tolist(), semi_global_scores(scores, (0.3, 0.6)).argmax(1)[0, 0].tolist()
        ([0, 1, 0], [0, 0, 0])
    """
    costs = -scores.float()
    ways = [
        _along(costs, penalties),
        _along(costs.flip(-1), penalties).flip(-1),
        _along(costs.mT, penalties).mT,
        _along(costs.mT.flip(-1), penalties).flip(-1).mT,
    ]
    return -torch.stack(ways).mean(0)


def _along(costs: Tensor, penalties: tuple[float, float]) -> Tensor:
    """(B, D, H, W) costs of the best way from the left end of each row."""
    one, more = penalties
    first, *columns = costs.contiguous().unbind(-1)
    ways = [first]
    edge = torch.full_like(first[:, :1], torch.inf)
    for column in columns:
        before = ways[-1]
        least = before.amin(1, keepdim=True)
        lower = torch.cat([edge, before[:, :-1]], dim=1) + one
        upper = torch.cat([before[:, 1:], edge], dim=1) + one
        best = torch.minimum(torch.minimum(before, least + more), torch.minimum(lower, upper))
        ways.append(column + best - least)
    return torch.stack(ways, dim=-1)
