"""How far a wrong class is from the right one in a tree of classes."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.errors import DataError


def ancestor_heights(synsets: Sequence[str], edges: Sequence[tuple[str, str]]) -> Tensor:
    """Height of the lowest common ancestor of every two classes, of which the hierarchical error is the mean.

    The height of a node is the length of the longest path from it down to a class. A class is its own ancestor, so that
    a class above another is their common one; a right answer costs 0. Where nodes have several parents, the lowest
    common ancestor is the common one of least height, whichever way leads to it.

    Args:
        synsets: of the classes, by index.
        edges: (parent, child) above the classes, without cycles; others are not used.

    Returns:
        (N, N) int64, symmetric.

    Raises:
        DataError: a class has no synset, two have no common ancestor, or edges form a cycle.

    Source: Deng et al. 2010, "What does classifying more than 10,000 image categories tell us?", section 6.

    Example:
        >>> tree = [("animal", "pet"), ("pet", "cat"), ("pet", "dog"), ("animal", "newt")]
        >>> ancestor_heights(["cat", "dog", "newt"], tree).tolist()
        [[0, 1, 2], [1, 0, 2], [2, 2, 0]]
    """
    if without := synsets.count(""):
        raise DataError(
            f"{without} of {len(synsets)} classes have no synset, by which a tree knows them: the file of words lacks "
            "their lines, restore them, or leave data.tree out"
        )
    parents_of: dict[str, list[str]] = defaultdict(list)
    for parent, child in edges:
        parents_of[child].append(parent)
    below: dict[str, list[int]] = defaultdict(list)  # classes by ancestor
    height: dict[str, int] = {}
    for index, synset in enumerate(synsets):
        depth = _steps_up(synset, parents_of, most=len(edges))
        for node, steps in depth.items():
            below[node].append(index)
            height[node] = max(height.get(node, 0), steps)
    heights = torch.full((len(synsets), len(synsets)), -1)
    for node in sorted(below, key=lambda node: -height[node]):  # the lowest is written last
        classes = torch.tensor(below[node])
        heights[classes[:, None], classes] = height[node]
    if (heights < 0).any():
        one, other = (heights < 0).nonzero()[0].tolist()
        problem = f"classes {synsets[one]} and {synsets[other]}"
        raise DataError(f"{problem} have no common ancestor in the tree: give the tree of all classes, with its root")
    return heights.fill_diagonal_(0)


def _steps_up(synset: str, parents_of: dict[str, list[str]], *, most: int) -> dict[str, int]:
    """Returns the length of the longest path from a class up to each of its ancestors, itself included."""
    steps = {synset: 0}
    waiting = [synset]
    while waiting:
        node = waiting.pop()
        if steps[node] > most:
            raise DataError(f"the tree has a cycle through {node}: expected parents above children only")
        for parent in parents_of.get(node, ()):
            if steps[node] + 1 > steps.get(parent, -1):
                steps[parent] = steps[node] + 1
                waiting.append(parent)
    return steps
