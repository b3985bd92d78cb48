"""ImageNet's layouts give one numbering of classes, that of the weights; whatever does not fit together is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.data.readers import imagenet_trees as grow
from tests.data.readers.files import written
from unpool.data.matlab import read_structs
from unpool.data.readers import imagenet_lists
from unpool.data.readers.imagenet import ImageNet
from unpool.data.synset_tree import read_tree
from unpool.data.synsets import read_words
from unpool.errors import DataError

NAMES = ("tench", "crane (n02012849)", "dalmatian", "crane (n03126707)")
TRUTHS = [0, 3, 2]  # places of SHOWN in the order of ids


def labels(reader):
    return [int(reader.targets(i)["label"]) for i in range(len(reader))]


def sorted_val(root):
    for number, synset in enumerate(grow.SHOWN):
        grow.image(root / "val" / synset / f"ILSVRC2012_val_{number + 1:08d}.JPEG", 10 + number)


def flat_with(*lists):
    def write(root):
        grow.flat(root)
        for one in lists:
            one(root)

    return write


LAYOUTS = {
    "kaggle": lambda root: grow.solution(grow.imagenet(root)),
    "sorted": sorted_val,
    "solution": flat_with(grow.solution),
    "indices": flat_with(grow.indexed),
    "kit": flat_with(lambda root: grow.truth(root / "ILSVRC2012_devkit_t12/data")),
    "several lists": flat_with(grow.solution, grow.indexed, grow.truth),
}


@pytest.fixture(autouse=True)
def _few_classes(monkeypatch):
    monkeypatch.setattr(imagenet_lists, "CLASSES", len(grow.WORDS))


@pytest.fixture
def root(tmp_path) -> Path:
    """Words and training images; a test adds the validation part."""
    grow.words(tmp_path)
    grow.train(tmp_path)
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_classes_in_the_order_of_synset_ids(layout, root):
    LAYOUTS[layout](root)
    train, val = (ImageNet(root, split) for split in ("train", "val"))
    assert train.info.classes == val.info.classes == NAMES
    assert train.info.synsets == tuple(sorted(grow.WORDS))
    assert labels(train) == [0, 0, 2, 3]
    numbered = {name[-13:]: label for name, label in zip(val.names, labels(val), strict=True)}
    assert numbered == {f"{i + 1:08d}.JPEG": label for i, label in enumerate(TRUTHS)}
    assert ImageNet(root, "test").names == val.names


def test_flat_folder_with_lists_of_both_parts_is_that_of_the_samples(tmp_path):
    grow.words(tmp_path)
    for number, synset in enumerate(grow.SHOWN):
        grow.image(tmp_path / "images" / f"{synset}_thing.JPEG", number)
    lines = [f"{synset}_thing.JPEG {place}\n" for synset, place in zip(grow.SHOWN, TRUTHS, strict=True)]
    written(tmp_path / "val.txt", "".join(lines).encode())
    with pytest.raises(DataError, match=r"no train split; looked for .*train\.txt with"):
        ImageNet(tmp_path, "train")
    written(tmp_path / "train.txt", "".join(lines[:2]).encode())
    assert labels(ImageNet(tmp_path, "val")) == sorted(TRUTHS)
    assert labels(ImageNet(tmp_path, "train")) == TRUTHS[:2]
    written(tmp_path / "val.txt", "".join([lines[0], lines[1].replace(" 3", " 1"), lines[2]]).encode())
    with pytest.raises(DataError, match=r"val\.txt: line 2 says n02012849 of n03126707_thing\.JPEG, whose name says"):
        ImageNet(tmp_path, "val")


def test_set_of_few_synsets_keeps_the_numbers_of_all(root):
    reader = ImageNet(root, "train")
    assert len(reader.info.classes) == 4
    assert labels(reader) == [0, 0, 2, 3]
    assert any("images of 3 of 4 classes; the numbers of all stay" in note for note in reader.notes)


@pytest.mark.parametrize("is_named", [False, True])
def test_numbers_of_a_list_are_not_read_in_a_words_file_of_another_length(is_named, root, monkeypatch):
    flat_with(grow.indexed)(root)
    note = next(note for note in ImageNet(root, "val").notes if "images of 3 of 4 classes" in note)
    assert note.endswith("and sort the images into folders of synsets, as the list numbers all")
    if is_named:
        grow.solution(root)
    change("synset_words.txt", f"n02012849 {grow.WORDS['n02012849']}\n", "")(root)  # nothing shows it
    with pytest.raises(DataError, match=r"val\.txt numbers classes among 4, and .*words\.txt has 3, whose numbers"):
        ImageNet(root, "val")
    (root / "val.txt").unlink()
    if is_named:
        assert labels(ImageNet(root, "val")) == [0, 2, 1]


def test_classes_of_a_network_give_the_numbers_and_keep_their_synsets(root):
    sorted_val(root)
    reader = ImageNet(root, "val", classes=("other", "dalmatian", "crane (n03126707)", "tench"))
    assert labels(reader) == [3, 1, 2]
    assert reader.info.synsets == ("", "n02110341", "n03126707", "n01440764")
    with pytest.raises(DataError, match="unknown classes 'dalmatian'"):
        ImageNet(root, "val", classes=("tench", "crane (n03126707)"))


def change(name, old, new):
    def apply(root):
        path = next(root.rglob(name))
        path.write_text(path.read_text().replace(old, new, 1))

    return apply


def remove(name):
    return lambda root: next(root.rglob(name)).unlink()


REFUSED = {
    # lists that are there, what happens to the set, and what the message must have
    "no words": ([grow.solution], remove("synset_words.txt"), "neither synset_words.txt nor LOC_synset_mapping.txt"),
    "other words": (
        [grow.solution],
        lambda root: written(root / "LOC_synset_mapping.txt", b"n01440764 tench\nn02012849 crane\n"),
        "have different synsets",
    ),
    "words cut off": (
        [grow.solution],
        change("synset_words.txt", "n03126707 ", "n0312"),
        "line 4 is 'n0312crane'; exp",
    ),
    "a synset twice": (
        [grow.solution],
        change("synset_words.txt", "n03126707", "n02012849"),
        "line 4 names n02012849, as line 2 does",
    ),
    "no list": ([], lambda root: None, "no list of their classes; looked for LOC_val_solution.csv, val.txt"),
    "unknown synset": (
        [grow.solution],
        change("LOC_val_solution.csv", "n02110341 85 1 499 272 n02110341", "n09999999 1 2 3 4 n09999999"),
        r"LOC_val_solution\.csv: line 2: n09999999 of ILSVRC2012_val_00000003 is not in .*synset_words\.txt",
    ),
    "two synsets": (
        [grow.solution],
        change("LOC_val_solution.csv", "272 n02110341", "272 n01440764"),
        "line 2 is .*; expected an image, a comma, and boxes of one synset",
    ),
    "an image too few": (
        [grow.solution],
        remove("ILSVRC2012_val_00000002.JPEG"),
        "line 3 names ILSVRC2012_val_00000002, which is not there",
    ),
    "an image too many": (
        [grow.indexed],
        lambda root: grow.image(root / "val" / "ILSVRC2012_val_00000004.JPEG", 9),
        r"val\.txt has no line of 1 images, such as ILSVRC2012_val_00000004",
    ),
    "image on two lines": (
        [grow.indexed],
        change("val.txt", "00000002.JPEG", "00000001.JPEG"),
        "line 2: ILSVRC2012_val_00000001 is on an earlier line too",
    ),
    "index from one": ([grow.indexed], change("val.txt", "JPEG 3", "JPEG 4"), "line 2 is .*its class, 0 to 3"),
    "words unsorted": (
        [grow.indexed],
        lambda root: (root / "synset_words.txt").write_text(
            "".join(f"{one} {grow.WORDS[one]}\n" for one in reversed(grow.WORDS))
        ),
        r"synset_words\.txt is not in the order of synset ids, which the numbers of val\.txt are in",
    ),
    "lists disagree": (
        [grow.solution, grow.indexed],
        change("val.txt", "JPEG 2", "JPEG 1"),
        r"line 2 says n02110341 of ILSVRC2012_val_00000003, and .*val\.txt: line 3 n02012849",
    ),
    "kit cut off": ([grow.truth], change("ILSVRC2012_validation_ground_truth.txt", "1\n", ""), "2 lines, and 3 images"),
    "kit without numbering": ([grow.truth], remove("map_clsloc.txt"), "are no class indices, and neither meta.mat nor"),
    "numbering cut off": ([grow.truth], change("map_clsloc.txt", "n01440764 3 name", "n014"), "names 'n014'; expected"),
    "numbering doubled": ([grow.truth], change("map_clsloc.txt", " 4 ", " 3 "), "has a number twice"),
    "number unknown": (
        [grow.truth],
        change("ILSVRC2012_validation_ground_truth.txt", "3", "7"),
        "line 1 is '7'; expected 1 to 4",
    ),
    "image of another number": (
        [grow.truth],
        lambda root: (root / "val/ILSVRC2012_val_00000002.JPEG").rename(root / "val/ILSVRC2012_val_00000007.JPEG"),
        "line 2 is of an image that is not there, whose name ends in _00000002",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lists_that_do_not_fit_are_refused_with_file_and_line(case, root):
    lists, apply, says = REFUSED[case]
    flat_with(*lists)(root)
    apply(root)
    with pytest.raises(DataError, match=says):
        ImageNet(root, "val")


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("val/dog/ILSVRC2012_val_00000009.JPEG", "1 folders that are called otherwise than synsets, such as 'dog'"),
        ("val/n09999999/ILSVRC2012_val_00000009.JPEG", "has no line of n09999999: add it, or take it away"),
        ("val/ILSVRC2012_val_00000009.png", "has folders of synsets, and 1 images beside them, of no synset"),
        ("val/n01440764/n02110341_9.JPEG", "the folder n01440764 says n01440764 of .*whose name says n02110341"),
    ],
)
def test_folders_that_are_no_synsets_of_the_words_are_refused(file, says, root):
    sorted_val(root)
    grow.image(root / file, 99)
    with pytest.raises(DataError, match=says):
        ImageNet(root, "val")


def test_kit_of_2012_numbers_its_synsets_in_a_matlab_file(root):
    io = pytest.importorskip("scipy.io")
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    rows = np.array([(float(n), one, "a word") for one, n in grow.KIT.items()], kind).reshape(-1, 1)
    grow.flat(root)
    (grow.truth(root).parent / "map_clsloc.txt").unlink()
    for packed in (True, False):
        io.savemat(root / "meta.mat", {"synsets": rows}, do_compression=packed)
        assert labels(ImageNet(root, "val")) == TRUTHS
    with pytest.raises(DataError, match=r"no structs called 'synsets' with fields WNID, gloss"):
        read_structs(root / "meta.mat", "synsets", ("WNID", "gloss"))
    (root / "meta.mat").write_bytes((root / "meta.mat").read_bytes()[:-60])
    with pytest.raises(DataError, match=r"meta\.mat is damaged"):
        ImageNet(root, "val")


def test_tree_keeps_what_is_above_the_classes_with_all_parents(root):
    grow.tree(root, "n00001740 n09999999", "n09999999 n08888888", "n00001740 n02083346")
    edges = ImageNet(root, "train", tree="wordnet.is_a.txt").info.tree
    assert [" ".join(edge) for edge in edges] == [*grow.TREE, "n00001740 n02083346"]
    assert root / "wordnet.is_a.txt" in ImageNet(root, "train", tree="wordnet.is_a.txt").set_files


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("n02083346", r"wordnet\.is_a\.txt: line 7 is 'n02083346'; expected a parent and a child"),
        ("n02110341 n00015388", r"line 7 closes a cycle: n00015388 and n02083346 and n02110341 are above one another"),
        ("n02110341 n02110341", "line 7 closes a cycle: n02110341 are above"),
    ],
)
def test_tree_with_odd_lines_or_a_cycle_is_refused_with_its_line(line, says, root):
    grow.tree(root, line)
    with pytest.raises(DataError, match=says):
        ImageNet(root, "train", tree="wordnet.is_a.txt")


def test_tree_without_a_class_or_a_file_is_refused(root):
    with pytest.raises(DataError, match=r"is_a\.txt is missing, which data\.tree names"):
        ImageNet(root, "train", tree="wordnet.is_a.txt")
    with pytest.raises(DataError, match="lacks 1 of 2 classes: n07777777"):
        read_tree(grow.tree(root), ("n01440764", "n07777777"))


@pytest.mark.data
def test_samples_have_the_words_of_all_classes_in_the_order_of_the_weights(shared_data, monkeypatch):
    monkeypatch.undo()
    root = shared_data / "imagenet_samples"
    words = read_words(root / "synset_words.txt")
    assert len(set(words.names)) == 1000
    assert words.is_ordered
    assert (words.names[0], words.names[134]) == ("tench", "crane (n02012849)")
    reader = ImageNet(root, "val")
    indices = dict(line.rsplit(" ", 1) for line in (root / "val.txt").read_text().splitlines())
    assert {name.rpartition("/")[2]: label for name, label in zip(reader.names, labels(reader), strict=True)} == {
        name: int(index) for name, index in indices.items()
    }
    assert all(
        re.match(words.synsets[label], name[7:]) for name, label in zip(reader.names, labels(reader), strict=True)
    )
