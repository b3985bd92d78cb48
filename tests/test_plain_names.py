"""Names of the classes of plain data sets that are joined, or number them in two ways."""

import pytest
from torch.utils.data import ConcatDataset, Subset

from unpool.assemble.names import check_numbers, info_of
from unpool.errors import DataError
from unpool.types import DataInfo

GIVES = ("image", "label")


class Named(list):
    """One sample and names of classes, with their numbers where they are given."""

    def __init__(self, *classes, **numbers):
        super().__init__([(0, 0)])
        self.classes = list(classes)
        if numbers:
            self.class_to_idx = numbers


def test_sets_that_are_joined_have_the_names_that_all_of_them_agree_on():
    joined = Subset(ConcatDataset([Named("cat"), Named("cat", "dog"), [(0, 1)]]), [0])
    assert info_of(None, joined, GIVES, part="train").classes == ("cat", "dog")


@pytest.mark.parametrize("passed", [None, ["cat", "dog"]])
def test_sets_that_are_joined_and_number_their_classes_otherwise_are_refused(passed):
    joined = ConcatDataset([Named("cat", "dog"), Named("bird", "cat")])
    with pytest.raises(DataError, match="cat, dog, and bird, cat, by number, so that a label means two things"):
        info_of(passed, joined, GIVES, part="train")
    with pytest.raises(DataError, match="a label means two things"):
        check_numbers(joined, DataInfo(classes=("cat", "dog")), GIVES, part="val")


def test_names_in_another_order_than_the_numbers_of_the_labels_are_refused():
    sorted_as_texts = {"0": 0, "1": 1, "10": 10, "2": 2}
    with pytest.raises(DataError, match="'10' as number 2, and its class_to_idx as 10: sort"):
        info_of(None, Named(*sorted_as_texts, **sorted_as_texts), GIVES, part="train")
    assert info_of(None, Named("a", "b", a=0, b=1), GIVES, part="train").classes == ("a", "b")
