"""From how many folders on a message speaks of them."""

from tests.data.readers.test_other_layouts import grow
from unpool.data.readers.layouts import groups_of


def test_folders_within_classes_are_noted_from_two_classes_and_two_folders_each_on(tmp_path):
    one = grow(tmp_path / "one", "ant/x/a*3.png", "ant/y/b*3.png")
    single = grow(tmp_path / "single", "ant/x/a*3.png", "ant/y/b*3.png", "bee/u/c*3.png")
    two = grow(tmp_path / "two", "ant/x/a*3.png", "ant/y/b*3.png", "bee/u/c*3.png", "bee/v/d*3.png")
    assert groups_of(one) == groups_of(single) == []
    assert groups_of(two) == [
        "each class folder holds folders of images, such as ant/x, bee/u: the outer ones are taken for the classes"
    ]
