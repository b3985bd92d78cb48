"""Assembles people from heatmaps of joints and fields of limbs: peaks, pairs of peaks, and people out of pairs.

Pairs of one limb are chosen greedily by the integral of its field along the line between them; limbs that share a joint
belong to one person. Thresholds are those of ZheC/Realtime_Multi-Person_Pose_Estimation. That code enlarges all maps to
the size of the image first; here heatmaps are doubled and a peak is moved by a quarter of a pixel, and fields are
interpolated. Only the `MOST` highest peaks of each joint are used: an untrained network has hundreds, and all pairs of
them would be compared.

Source: Cao et al. 2017, arXiv:1611.08050, sections 2.3 and 2.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.ops.fields import along_lines

ENLARGED = 2  # factor, so that joints of two people that are a pixel apart are two peaks
PEAK = 0.1  # least height of a peak
MOST = 128  # peaks of one joint
ALONG = 0.05  # least component of the field along the line for a sample to agree with the limb
AGREEING = 0.8  # least share of samples that agree
Ends = tuple[tuple[int, int], tuple[int, int]]  # (joint, peak) twice
LEAST_JOINTS = 3
LEAST_SCORE = 0.2  # of a person, by joint


class Peaks(NamedTuple):
    """Candidates for a joint: `points` (M, 2) x, y in pixels of the map, and `scores` (M,)."""

    points: Tensor
    scores: Tensor


class Pair(NamedTuple):
    """Two peaks, by index, that make a limb, and the limb's score."""

    first: int
    second: int
    score: float


class People(NamedTuple):
    """People, best first: `joints` (N, K, 2) in pixels of the map, NaN for missing ones, and `scores` (N,)."""

    joints: Tensor
    scores: Tensor


def parse(maps: Tensor, fields: Tensor, limbs: Sequence[tuple[int, int]]) -> People:
    """Assembles people from predicted maps.

    Args:
        maps: (K, H, W) heatmap of each joint, without a background.
        fields: (2 * limbs, H, W) as `affinity_fields` draws them.
        limbs: pairs of joints; the score of one that is longer than half of the height is reduced.

    Example:
        >>> from unpool.ops.fields import affinity_fields
        >>> from unpool.ops.heatmaps import gaussians
        >>> person, limbs = torch.tensor([[[4.0, 8.0], [8.0, 8.0], [12.0, 8.0]]]), [(0, 1), (1, 2)]
        >>> maps, fields = gaussians(person[0], (16, 16), 1.0), affinity_fields(person, limbs, (16, 16), 1.0)
        >>> people = parse(maps, fields, limbs)
        >>> (people.joints - person).abs().max() < 0.3
        tensor(True)
    """
    maps, fields = maps.float().cpu(), fields.float().cpu()
    enlarged = nn.functional.interpolate(maps[None], scale_factor=ENLARGED, mode="bicubic")[0]
    peaks = [Peaks((points + 0.5) / ENLARGED - 0.5, scores) for points, scores in find_peaks(enlarged)]
    longest = 0.5 * maps.shape[1]
    pairs = []
    for number, (first, second) in enumerate(limbs):
        field = fields[2 * number : 2 * number + 2]
        pairs.append(match(field, peaks[first], peaks[second], longest=longest))
    return _assemble(peaks, pairs, limbs)


def find_peaks(maps: Tensor) -> list[Peaks]:
    """Returns the local maxima of each map (K, H, W), moved a quarter pixel towards the higher neighbour in x and in y.

    Of more than `MOST` in one map only the highest are returned, still in the order of rows.

    Example:
        >>> from unpool.ops.heatmaps import gaussians
        >>> find_peaks(gaussians(torch.tensor([[2.2, 3.0]]), (6, 6), 1.0))
        [Peaks(points=tensor([[2.2500, 3.0000]]), scores=tensor([0.9802]))]
    """
    padded = nn.functional.pad(maps, (1, 1, 1, 1), value=-torch.inf)
    around = nn.functional.max_pool2d(padded[None], 3, stride=1)[0]
    left, right = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
    up, down = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    # of equal neighbours the last one counts, row by row
    behind = torch.stack([right, padded[:, 2:, :-2], down, padded[:, 2:, 2:]]).amax(0)
    top = (maps >= around) & (maps > PEAK) & (maps > behind)
    joint, y, x = top.nonzero().unbind(1)
    steps = [_quarter(before[joint, y, x], after[joint, y, x]) for before, after in ((left, right), (up, down))]
    points = torch.stack([x + steps[0], y + steps[1]], dim=1)
    heights = maps[joint, y, x]
    counts = joint.bincount(minlength=len(maps)).tolist()
    return [_highest(Peaks(p, s)) for p, s in zip(points.split(counts), heights.split(counts), strict=True)]


def _highest(peaks: Peaks) -> Peaks:
    if len(peaks.scores) <= MOST:
        return peaks
    kept = peaks.scores.argsort(descending=True, stable=True)[:MOST].sort().values
    return Peaks(peaks.points[kept], peaks.scores[kept])


def _quarter(before: Tensor, after: Tensor) -> Tensor:
    inside = before.isfinite() & after.isfinite()
    return torch.where(inside, 0.25 * torch.sign(after - before), 0.0)


def match(field: Tensor, starts: Peaks, ends: Peaks, *, longest: float) -> list[Pair]:
    """Pairs the peaks of a limb's two joints, the pair of highest score first; each peak is in at most one pair.

    Args:
        field: (2, H, W) of the limb.
        starts: peaks of its first joint.
        ends: peaks of its second.
        longest: length in pixels beyond which the score of a limb is reduced.

    Example:
        >>> field = torch.stack([torch.ones(3, 4), torch.zeros(3, 4)])  # to the right everywhere
        >>> start = Peaks(torch.tensor([[0.0, 1.0]]), torch.ones(1))
        >>> ends = Peaks(torch.tensor([[0.0, 2.0], [3.0, 1.0]]), torch.ones(2))  # below, and to the right
        >>> match(field, start, ends, longest=4.0)
        [Pair(first=0, second=1, score=1.0)]
    """
    if not len(starts.points) or not len(ends.points):
        return []
    parts = along_lines(field, starts.points, ends.points)  # (M, N, samples)
    agrees = parts > ALONG
    mean = torch.where(agrees, parts, 0.0).sum(2) / agrees.sum(2)  # NaN, which makes no limb, where none does
    length = torch.cdist(starts.points, ends.points)
    score = mean + (longest / length - 1).clamp_max(0)
    is_limb = (score > 0) & (agrees.float().mean(2) > AGREEING)
    first, second = is_limb.nonzero().unbind(1)
    scores = score[first, second]
    order = scores.argsort(descending=True, stable=True)
    taken_first, taken_second, pairs = set(), set(), []
    for a, b, s in zip(first[order].tolist(), second[order].tolist(), scores[order].tolist(), strict=True):
        if a not in taken_first and b not in taken_second:
            pairs.append(Pair(a, b, s))
            taken_first.add(a)
            taken_second.add(b)
    return pairs


class _Body:
    """The peak of each joint of one person, and the sum of the scores of its limbs and joints."""

    def __init__(self) -> None:
        self.joints: dict[int, int] = {}
        self.score = 0.0

    def take(self, ends: Ends, score: float, heights: list[list[float]]) -> None:
        """Adds a limb: its score, and the heights of those of its joints that are new."""
        self.score += score
        for joint, peak in ends:
            if joint not in self.joints:
                self.joints[joint] = peak
                self.score += heights[joint][peak]


def _assemble(peaks: list[Peaks], pairs: list[list[Pair]], limbs: Sequence[tuple[int, int]]) -> People:
    of_peak: dict[tuple[int, int], _Body] = {}
    heights = [peak.scores.tolist() for peak in peaks]
    for (first, second), chosen in zip(limbs, pairs, strict=True):
        for pair in chosen:
            ends = ((first, pair.first), (second, pair.second))
            body = _joined(of_peak.get(ends[0]), of_peak.get(ends[1]), ends)
            if body is not None:
                body.take(ends, pair.score, heights)
                of_peak |= dict.fromkeys(body.joints.items(), body)
    bodies = list({id(body): body for body in of_peak.values()}.values())
    kept = [b for b in bodies if len(b.joints) >= LEAST_JOINTS and b.score / len(b.joints) >= LEAST_SCORE]
    kept.sort(key=lambda body: body.score, reverse=True)
    joints = torch.full((len(kept), len(peaks), 2), torch.nan)
    for i, body in enumerate(kept):
        for joint, peak in body.joints.items():
            joints[i, joint] = peaks[joint].points[peak]
    return People(joints, torch.tensor([body.score / len(peaks) for body in kept]))


def _joined(one: _Body | None, other: _Body | None, ends: Ends) -> _Body | None:
    """The body that a limb is added to; None if that would add a second peak of a joint."""
    if one is None:
        return _Body() if other is None else _fitting(other, ends)
    if other is None:
        return _fitting(one, ends)
    if one is other:
        return one
    if one.joints.keys() & other.joints.keys():
        return None
    one.joints |= other.joints
    one.score += other.score
    return one


def _fitting(body: _Body, ends: Ends) -> _Body | None:
    """The body, or None if it has one of the joints at another peak."""
    return body if all(body.joints.get(joint, peak) == peak for joint, peak in ends) else None
