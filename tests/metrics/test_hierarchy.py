"""The hierarchical error is the mean height of the lowest common ancestor of prediction and truth."""

import random

import pytest
import torch

from unpool import tasks
from unpool.errors import DataError
from unpool.metrics.classification import LabelScores
from unpool.metrics.hierarchy import ancestor_heights
from unpool.ops.preprocessing import Preprocessing
from unpool.types import DataInfo

CLASSES = ("tabby", "siamese", "poodle", "newt", "crane")
TREE = (
    *(("thing", "animal"), ("thing", "machine"), ("animal", "pet"), ("animal", "newt"), ("machine", "crane")),
    *(("pet", "cat"), ("pet", "poodle"), ("cat", "tabby"), ("cat", "siamese")),
)
# heights by hand: cat 1, pet 2, animal 3, thing 4; machine 1
BY_HAND = [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [2, 2, 0, 3, 4], [3, 3, 3, 0, 4], [4, 4, 4, 4, 0]]


def test_heights_are_those_of_a_tree_made_by_hand():
    assert ancestor_heights(CLASSES, TREE).tolist() == BY_HAND


@pytest.mark.parametrize("step", [1, -1])
def test_of_several_parents_the_lowest_common_ancestor_counts(step):
    both = ancestor_heights(CLASSES, (*TREE, ("animal", "crane"), ("pet", "newt"))[::step])
    assert both[3].tolist() == [2, 2, 2, 0, 3]
    assert both[4].tolist() == [3, 3, 3, 3, 0]


def test_class_above_another_is_their_common_ancestor():
    heights = ancestor_heights(("cat", "tabby", "poodle"), TREE)
    assert heights.tolist() == [[0, 1, 2], [1, 0, 2], [2, 2, 0]]


def by_definition(synsets, edges):
    """Slowly: the least height among the ancestors that two classes share."""

    def above(node):
        return {node}.union(*(above(parent) for parent, child in edges if child == node))

    def height(node):
        lengths = [
            1 + height(child) for parent, child in edges if parent == node and any(child in above(s) for s in synsets)
        ]
        return max(lengths, default=0)

    return [[0 if a == b else min(map(height, above(a) & above(b))) for b in synsets] for a in synsets]


@pytest.mark.parametrize("seed", range(5))
def test_heights_are_those_of_the_definition_in_graphs_of_several_parents(seed):
    draw = random.Random(seed)
    edges = [(str(draw.randrange(i)), str(i)) for i in range(1, 14) for _ in range(draw.choice((1, 1, 2)))]
    synsets = [str(i) for i in draw.sample(range(1, 14), 5)]
    heights = ancestor_heights(synsets, edges)
    assert heights.tolist() == by_definition(synsets, edges)
    assert torch.equal(heights, heights.T)


def test_classes_without_a_common_ancestor_and_cycles_are_refused():
    with pytest.raises(DataError, match="tabby and bolt have no common ancestor"):
        ancestor_heights(("tabby", "bolt"), (*TREE, ("part", "bolt")))
    with pytest.raises(DataError, match="1 of 2 classes have no synset, by which a tree"):
        ancestor_heights(("", "tabby"), TREE)
    with pytest.raises(DataError, match="has a cycle through"):
        ancestor_heights(("tabby",), (*TREE, ("tabby", "pet")))


def answers(truth, labels):
    top = torch.tensor(labels)[:, None].expand(-1, 5)
    return {"label": top[:, 0], "top_labels": top}, {"label": torch.tensor(truth)}


def test_hierarchical_error_is_the_mean_over_images_in_any_parts():
    whole, first, second = (LabelScores(CLASSES, ancestor_heights(CLASSES, TREE)) for _ in range(3))
    whole.update(*answers([0, 0, 4, 3], [0, 1, 2, 3]))
    first.update(*answers([0, 0, 4], [0, 1, 2]))
    second.update(*answers([3], [3]))
    first.merge(second)
    assert whole.compute()["hierarchical_error"] == first.compute()["hierarchical_error"] == (0 + 1 + 4 + 0) / 4
    assert LabelScores(CLASSES, ancestor_heights(CLASSES, TREE)).compute()["hierarchical_error"] is None


def test_classification_measures_it_where_a_tree_is_known():
    info = DataInfo(classes=tuple("abcde"), synsets=CLASSES, tree=TREE)
    plain, knowing = (
        tasks.build("classification", one, options={}, preprocessing=Preprocessing())
        for one in (DataInfo(classes=info.classes), info)
    )
    for task, is_measured in ((plain, False), (knowing, True)):
        assert (
            ("hierarchical_error" in task.described) == ("hierarchical_error" in task.metric().compute()) == is_measured
        )
    plain.measure_with(info)
    assert plain.metric().heights.tolist() == BY_HAND
    plain.measure_with(DataInfo(classes=info.classes))  # of another set, which has no tree
    assert plain.info == info
    assert not knowing.description("hierarchical_error").higher_is_better
