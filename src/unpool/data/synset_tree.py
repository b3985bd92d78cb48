"""The tree of synsets: a parent and a child a line, as in wordnet.is_a.txt of image-net.org.

WordNet is a directed acyclic graph: a synset may have several parents, and all of them are kept.

Source: Deng et al. 2009, "ImageNet: A Large-Scale Hierarchical Image Database", section 2.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.synsets import SYNSET, numbered_lines
from unpool.data.text_file import MOST_LISTED
from unpool.errors import DataError, quoted, shortened

Edge = tuple[str, str]  # parent and child
Lines = dict[Edge, int]  # number of the line of each edge


def read_tree(path: Path, synsets: Sequence[str]) -> tuple[Edge, ...]:
    """Returns (parent, child) of the edges above some synsets, in the order of the file.

    Raises:
        DataError: the file is missing, a line is no pair of synsets, synsets are in no line, or some are above
            themselves; names the file and the line.
    """
    if not path.is_file():
        raise DataError(f"{printable(path)} is missing, which data.tree names; expected 'parent child' synsets a line")
    lines = _edges(path)
    parents_of: dict[str, list[str]] = defaultdict(list)
    for parent, child in lines:
        parents_of[child].append(parent)
    known = {synset for edge in lines for synset in edge}
    if lacking := [synset for synset in synsets if synset not in known]:
        listed = shortened(", ".join(lacking))
        raise DataError(f"{printable(path)} lacks {len(lacking)} of {len(synsets)} classes: {listed}; add their lines")
    above = set(synsets)
    waiting = list(above)
    while waiting:
        new = set(parents_of[waiting.pop()]) - above
        above |= new
        waiting += new
    kept = tuple(edge for edge in lines if edge[1] in above)
    if circular := _circular(kept):
        number = max(lines[edge] for edge in circular)
        problem = f"{printable(path)}: line {number} closes a cycle"
        ring = " and ".join(sorted({synset for edge in circular for synset in edge})[:4])
        raise DataError(f"{problem}: {ring} are above one another; expected parents above children only")
    return kept


def _edges(path: Path) -> Lines:
    edges: Lines = {}
    for number, line in numbered_lines(path, most=MOST_LISTED):
        words = line.split()
        if len(words) != 2 or not all(map(SYNSET.fullmatch, words)):
            problem = f"{printable(path)}: line {number} is {quoted(shortened(line))}"
            raise DataError(f"{problem}; expected a parent and a child, such as 'n02084071 n01322604'")
        edges.setdefault((words[0], words[1]), number)
    return edges


def _circular(edges: Iterable[Edge]) -> list[Edge]:
    """Returns the edges of cycles: what stays when edges without an edge above or below are taken away again."""
    left = list(edges)
    while True:
        parents, children = {edge[0] for edge in left}, {edge[1] for edge in left}
        inner = [edge for edge in left if edge[0] in children and edge[1] in parents]
        if len(inner) == len(left):
            return left
        left = inner
