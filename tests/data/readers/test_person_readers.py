"""Readers of people: who is learned from, who is enrolled, which pairs are measured, and what is refused."""

import re
from pathlib import Path

import pytest
import torch

from tests.data.readers.files import encoded, pixels, written
from tests.data.readers.trees import lfw, person_folders, person_pairs
from unpool.data.readers.lfw import Lfw
from unpool.data.readers.person_folders import PersonFolders
from unpool.data.readers.person_pairs import PersonPairs
from unpool.errors import DataError
from unpool.types import CALIBRATING, ENROLLED, MEASURED, PAIRED


def people_of(reader):
    return {Path(name).parent.name for name in reader.names}


def pairs_of(reader):
    """(name, name, same, fold) of each pair."""
    return [
        (reader.names[i], reader.names[j], same, fold)
        for i in range(len(reader))
        for j, same, fold in reader.targets(i)["pairs"].tolist()
    ]


def both(kind, root, **options):
    train = kind(root, "train", **options)
    return train, kind(root, "val", classes=train.info.classes, **options)


@pytest.mark.parametrize(("kind", "tree"), [(Lfw, lfw), (PersonPairs, person_pairs)])
def test_nobody_stands_in_two_parts_and_pairs_that_choose_the_threshold_are_of_others(kind, tree, tmp_path):
    train, val = both(kind, tree(tmp_path), calibrating=0.4)
    parts = [people_of(train)]
    for wanted in (True, False):
        pairs = [pair for pair in pairs_of(val) if (pair[3] == CALIBRATING) == wanted]
        parts.append({Path(name).parent.name for pair in pairs for name in pair[:2]})
        assert {same for _, _, same, _ in pairs} == {0, 1}
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert people_of(train) == set(train.info.classes)
    assert set(val._role.tolist()) == {PAIRED}


@pytest.mark.parametrize(("kind", "tree"), [(Lfw, lfw), (PersonPairs, person_pairs)])
def test_pairs_are_of_one_person_where_the_list_says_so_and_numbers_are_of_people(kind, tree, tmp_path):
    train, val = both(kind, tree(tmp_path))
    for first, second, same, _ in pairs_of(val):
        assert (Path(first).parent == Path(second).parent) == bool(same)
    measured = [pair for pair in pairs_of(val) if pair[3] == 0]
    assert sorted(same for _, _, same, _ in measured) == [0, 0, 1, 1]
    assert train._identity.unique().tolist() == list(range(len(train.info.classes)))
    assert int(val._identity.min()) == len(train.info.classes)


def test_first_images_are_learned_from_and_enrolled_and_the_next_ones_are_measured(tmp_path):
    root = person_folders(tmp_path)
    for i in range(8, 11):
        written(root / "s0" / f"{i}.png", encoded(pixels(24, 20, 3, seed=900 + i)))
    train, val = both(PersonFolders, root, train_images=4, val_images=2)
    assert [name for name in train.names if name.startswith("s0/")] == [f"s0/{i}.png" for i in range(1, 5)]
    roles = dict(zip(val.names, val._role.tolist(), strict=True))
    assert {name for name, role in roles.items() if role == ENROLLED} == set(train.names)
    assert [name for name, role in roles.items() if role == MEASURED and name[1] == "0"] == ["s0/5.png", "s0/6.png"]
    test = PersonFolders(root, "test", classes=train.info.classes, train_images=4, val_images=2)
    measured = [name for name, role in zip(test.names, test._role.tolist(), strict=True) if role == MEASURED]
    assert [name for name in measured if name[1] == "0"] == [f"s0/{i}.png" for i in range(7, 11)]


def test_strangers_are_in_no_training_image_and_not_enrolled_and_half_of_them_choose_the_threshold(tmp_path):
    train, val = both(PersonFolders, person_folders(tmp_path), strangers=0.6)
    strangers = people_of(val) - people_of(train)
    assert len(strangers) == 4
    of_role = {
        role: {val.names[i].partition("/")[0] for i in (val._role == role).nonzero().flatten().tolist()}
        for role in (MEASURED, ENROLLED, PAIRED)
    }
    assert of_role[ENROLLED] == people_of(train)
    assert (len(of_role[PAIRED]), len(of_role[MEASURED] & strangers)) == (2, 2)
    assert not of_role[PAIRED] & of_role[MEASURED]
    assert {fold for *_, fold in pairs_of(val)} == {CALIBRATING}


@pytest.mark.parametrize(("share", "count"), [(0.4, 2), (0.9, 5)])
def test_too_few_strangers_to_choose_a_threshold_by_or_too_many_are_refused(share, count, tmp_path):
    with pytest.raises(DataError, match=f"data.strangers holds back {count} of 6 people; expected 4 at least"):
        PersonFolders(person_folders(tmp_path), "train", strangers=share)


def listed(root, name, *lines):
    (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["1 1", "Bob_A 1 2", "Bob_A 1 Bob_B 9"], "pairsVal.txt names 1 missing files: lfw/Bob_B/Bob_B_0009.jpg"),
        (["1 1", "Bob_A 1 1", "Bob_A 1 Bob_B 1"], "line 2 pairs lfw/Bob_A/Bob_A_0001.jpg with itself"),
        (["2", "Bob_A 1 2", "Bob_A 2 1", "Bob_A 1 Bob_B 1", "Bob_C 1 Bob_B 1"], "line 3 repeats the pair of .* line 2"),
        (["1 1", "Bob_A 1 2", "Bob_A 1"], "line 3 is 'Bob_A 1'; expected NAME 1 4, or NAME 1 OTHER 2"),
        (["1 1", "Bob_A 1 2", "Bob_A x Bob_B 1"], "line 3 is 'Bob_A x Bob_B 1'; expected"),
        (["one", "Bob_A 1 2"], "line 1 is 'one'; expected folds and pairs of each kind, such as 10 300"),
        (["1 2", "Bob_A 1 2", "Bob_A 1 Bob_B 1"], "line 3: expected a pair of one person"),
        (["1 1", "Bob_A 1 2"], "pairsVal.txt has 1 pairs; its first line says 1 x 1 of each kind"),
        (["1 0"], "line 1 is '1 0'; expected folds and pairs of each kind, such as 10 300"),
        (["1 \u00b2", "Bob_A 1 2"], "line 1 is '1 \u00b2'; expected folds"),
        (["1 1", "./Bob_A 1 2", "Bob_A 1 Bob_B 1"], "line 2 is './Bob_A 1 2'; expected NAME 1 4"),
        (["1 1", "Bob_A 1 2", "Bob_A 1 Bob_A 3"], "line 3 names Bob_A twice"),
        (
            ["1 1", "Bob_A 1 2", "Bob_A 1 Ann_A 1"],
            "has 1 people who are learned from, or choose the threshold, such as Ann_A",
        ),
        (
            ["2 1", "Bob_A 1 2", "Bob_A 1 Bob_B 1", "Bob_C 1 2", "Bob_C 1 Bob_B 2"],
            "line 5 has Bob_B, who stands in another fold at pairsVal.txt line 3",
        ),
    ],
)
def test_lfw_list_that_leaks_or_cannot_be_read_is_refused_with_its_line(lines, says, tmp_path):
    root = listed(lfw(tmp_path), "pairsVal.txt", *lines)
    with pytest.raises(DataError, match=says):
        Lfw(root, "val")


def test_pair_of_two_equal_files_is_refused(tmp_path):
    root = lfw(tmp_path)
    folder = root / "lfw" / "Bob_A"
    (folder / "Bob_A_0002.jpg").write_bytes((folder / "Bob_A_0001.jpg").read_bytes())
    with pytest.raises(DataError, match=r"line 2 pairs .*0001.jpg and .*0002.jpg, which are equal files"):
        Lfw(root, "val")


def test_pair_of_a_copy_is_the_pair_of_its_original(tmp_path):
    root = listed(lfw(tmp_path), "pairsVal.txt", "2", "Bob_A 1 2", "Bob_A 2 3", "Bob_A 1 Bob_B 1", "Bob_C 1 Bob_B 1")
    folder = root / "lfw" / "Bob_A"
    (folder / "Bob_A_0003.jpg").write_bytes((folder / "Bob_A_0001.jpg").read_bytes())
    with pytest.raises(DataError, match=r"line 3 repeats the pair of .* line 2"):
        Lfw(root, "val")


@pytest.mark.parametrize(
    ("kind", "tree", "first", "second"),
    [
        (Lfw, lfw, {"calibrating": 0.4}, {"calibrating": 0.4, "seed": 3}),
        (PersonPairs, person_pairs, {"calibrating": 0.0}, {"calibrating": 0.5}),
        (PersonFolders, person_folders, {"strangers": 0.67}, {"strangers": 0.67, "seed": 3}),
    ],
)
def test_nobody_who_was_learned_from_is_held_back_later(kind, tree, first, second, tmp_path):
    root = tree(tmp_path)
    classes = kind(root, "train", **first).info.classes
    kind(root, "val", classes=classes, **first)
    with pytest.raises(DataError, match=r"and data.seed hold back \d people whom the run has learned from, such as"):
        kind(root, "val", classes=classes, **second)


def test_two_folders_of_lfw_are_not_chosen_from_and_a_missing_list_of_people_is_said(tmp_path):
    root = lfw(tmp_path)
    (root / "peopleTrain.txt").unlink()
    assert Lfw(root, "val").notes == ["no peopleTrain.txt: nobody chooses a threshold (data.calibrating)"]
    written(root / "lfw_funneled" / "Ann_A" / "Ann_A_0001.jpg", encoded(pixels(24, 24, 3), "JPEG"))
    with pytest.raises(DataError, match="holds images in lfw and lfw_funneled, which are aligned in different ways"):
        Lfw(root, "val")


@pytest.mark.parametrize("kind", [PersonFolders, PersonPairs])
def test_what_lies_beside_the_images_of_people_is_counted_and_folders_within_are_refused(kind, tmp_path):
    root = person_pairs(tmp_path)
    written(root / "stray.png", encoded(pixels(24, 20, 3)))
    written(root / "s2" / "1.heif.txt", b"")
    reader = kind(root, "train")
    assert reader.origin["ignored"] == 1
    assert reader.notes == [
        "1 images lie outside of the folders of people, such as stray.png: left out",
        "s2 has 1 .txt file, which are no images",
    ]
    written(root / "s2" / "more" / "8.png", encoded(pixels(24, 20, 3)))
    with pytest.raises(DataError, match=r"s2 has images in folders of its own, such as more/8.png; expected ROOT/"):
        kind(root, "train")


def test_folds_of_a_list_are_numbered_and_each_has_pairs_of_both_kinds(tmp_path):
    lines = ("2\t1", "Bob_A\t1\t2", "Bob_A\t1\tBob_B\t1", "Bob_C\t1\t2", "Bob_C\t1\tBob_D\t2")
    val = Lfw(listed(lfw(tmp_path), "pairsVal.txt", *lines), "val", calibrating=0.0)
    assert sorted((fold, same) for *_, same, fold in pairs_of(val)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["2", "Ann_A 3", "Ann_B 1"], "1 people have one image, such as Ann_B, .*set data.single=leave_out"),
        (["3", "Ann_A 3", "Ann_B 3"], "names 2 people, and says that there are 3"),
        (["2", "Ann_A 3", "Ann_A 3"], "line 3 names Ann_A a second time"),
        (["2", "Ann_A 3", "Ann_B"], "line 3 is 'Ann_B'; expected NAME and a number of images"),
        (["2", "Ann_A 3", "Ann_B 4"], "counts 1 images that are missing, such as lfw/Ann_B/Ann_B_0004.jpg"),
    ],
)
def test_list_of_people_that_cannot_be_read_is_refused_with_its_line(lines, says, tmp_path):
    root = listed(lfw(tmp_path), "peopleTrain.txt", *lines)
    with pytest.raises(DataError, match=says):
        Lfw(root, "train", calibrating=0.0)


def test_people_of_one_image_are_left_out_where_that_is_asked_for_and_named(tmp_path):
    root = listed(lfw(tmp_path), "peopleTrain.txt", "3", "Ann_A 3", "Ann_B 1", "Ann_C 2")
    reader = Lfw(root, "train", calibrating=0.0, single="leave_out")
    assert reader.info.classes == ("Ann_A", "Ann_C")
    assert [fault.path for fault in reader.faults] == ["Ann_B"]


def test_list_of_several_folds_is_read_as_one(tmp_path):
    root = listed(lfw(tmp_path), "peopleTrain.txt", "2", "1", "Ann_A 3", "2", "Ann_B 3", "Ann_C 3")
    assert len(Lfw(root, "train", calibrating=0.0).info.classes) == 3


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a,b,c"], "pairs.csv begins with 'a b c'; expected the columns first, second, same"),
        (["first,second,same", "s0/1.png,s0/2.png,maybe"], "line 2: same is 'maybe'; expected 1 or 0"),
        (["first,second,same", "s0/1.png,s0/2.png,0"], "line 2: same is 0, and the folders say otherwise"),
        (
            ["first,second,same", "../s0/1.png,s0/2.png,1"],
            r"line 2: '../s0/1.png' is no file in the folder of a person",
        ),
        (["first,second,same", "./s0/1.png,s0/2.png,1"], r"line 2: './s0/1.png' is no file in the folder"),
        (["first;second;same", "s0/1.png;s0/2.png"], "line 2: 2 columns, the first line has 3"),
        (["first,second,same"], "pairs.csv lists no pair"),
        (["first,second,same,fold", "s0/1.png,s0/2.png,1,a", "s0/3.png,s1/2.png,0,"], "line 3: has no fold"),
        (["first,second,same", "s0/1.png,s0/99.png,1"], "names 1 missing files: s0/99.png"),
        (["first,second,same", "s0/1.png,s0/1.png,1"], "line 2 pairs s0/1.png with itself"),
        (["first,second,same,fold", "s0/1.png,s0/2.png,1,a", "s0/3.png,s1/2.png,0,b"], "line 3 has s0, who stands"),
    ],
)
def test_pairs_in_csv_that_cannot_be_read_are_refused_with_their_line(rows, says, tmp_path):
    root = listed(person_pairs(tmp_path), "pairs.csv", *rows)
    with pytest.raises(DataError, match=says):
        PersonPairs(root, "val")


def test_person_with_too_few_images_is_refused_by_name(tmp_path):
    root = person_folders(tmp_path)
    for i in range(2, 8):
        (root / "s3" / f"{i}.png").unlink()
    with pytest.raises(DataError, match=re.escape("1 people have fewer than 5 images: s3 has 1; add images")):
        PersonFolders(root, "train")


def test_set_without_the_split_says_what_it_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for pairsTest\.txt"):
        Lfw(lfw(tmp_path / "lfw"), "test")
    with pytest.raises(DataError, match=r"looked for images behind data\.val_images, which is not set"):
        PersonFolders(person_folders(tmp_path / "orl"), "test")
    root = person_pairs(tmp_path / "pairs")
    (root / "pairs.csv").unlink()
    with pytest.raises(
        DataError, match=r"looked for pairs\.csv.* first,second,same .* set data\.reader=person_folders"
    ):
        PersonPairs(root, "val")


@pytest.mark.data
def test_real_lists_of_lfw_share_nobody_and_have_the_published_numbers(shared_data):
    train, val = both(Lfw, shared_data / "lfw_gray")
    measured = [pair for pair in pairs_of(val) if pair[3] == 0]
    assert (len(measured), sum(same for _, _, same, _ in measured)) == (600, 300)
    assert len(train.info.classes) == 154 - 23
    assert not people_of(train) & people_of(val)


@pytest.mark.data
def test_real_orl_faces_are_five_images_to_learn_and_two_to_measure(shared_data):
    train, val = both(PersonFolders, shared_data / "orl_faces")
    assert (len(train), torch.bincount(val._role).tolist()) == (200, [80, 200])
