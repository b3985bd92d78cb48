"""One picture in training and validation is named, refused where it is many, and kept in one part of a drawn split."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.data.loading import Numbers
from tests.data.test_likeness import encoded, photograph, scaled
from unpool import run
from unpool.assemble.copies import CopiesOfSet, Part, look_for_copies, require_small_groups
from unpool.assemble.data import make_reader, read_data
from unpool.data.classes import held_out
from unpool.data.looking import Binding
from unpool.data.store import scan
from unpool.data.synthetic import Scenes
from unpool.errors import DataError
from unpool.recipe import load_recipe

SMALL = {
    "data.size": [32, 32],
    "data.train_size": None,
    "data.workers": 0,
    "train.epochs": 1,
    "train.warmup_epochs": 0,
    "train.batch": 4,
    "model.width": 4,
}
SMALL |= {"train.precision": "float32", "train.memory_format": "contiguous", "data.memory": True}


def put(path: Path, seed: int, *, copy: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = photograph(64, 80, seed=seed)
    (encoded(scaled(image, 0.75), "JPEG", quality=75) if copy else image).save(path)


def laid_out(root: Path, *, copies: int, val: int = 40) -> Path:
    """Train and val, of which the first `copies` validation images are scaled copies of training images."""
    for i in range(8):
        put(root / "train" / "ab"[i % 2] / f"{i}.png", i)
    for i in range(val):
        put(root / "val" / "ab"[i % 2] / f"v{i}.png", i if i < copies else 100 + i, copy=i < copies)
    return root


def read(root: Path, **options):
    return read_data(load_recipe("folder_resnet18", {**SMALL, "data.root": str(root), **options}))


def test_share_of_copies_is_of_the_images_that_are_measured():
    names, pairs = ["t0", "t1", "enrolled0", "enrolled1", "v0", "v1"], [(0, 4, "mirrored")]
    copies = CopiesOfSet(names, 2, pairs, [], is_near=True, num_enrolled=2)
    assert (copies.share, copies.to_json()["share_of_val"]) == (0.5, 0.5)


def test_many_copies_are_refused_with_their_names(tmp_path):
    with pytest.raises(DataError, match=r"3 of 40 validation images \(7.5%\) are training images too: val/a/v0.png is"):
        read(laid_out(tmp_path, copies=3))


def test_few_copies_are_warned_of(tmp_path, caplog):
    data = read(laid_out(tmp_path, copies=2))
    assert "2 of 40 validation images (5.0%) are training images too" in caplog.text
    across = [{"train": f"train/{c}/{i}.png", "val": f"val/{c}/v{i}.png"} for i, c in enumerate("ab")]
    assert [{k: pair[k] for k in ("train", "val")} for pair in data.copies.to_json()["across"]] == across


def test_many_copies_are_trained_on_where_that_is_allowed(tmp_path, caplog):
    read(laid_out(tmp_path, copies=3), **{"data.allow_duplicates": True})
    assert "3 of 40 validation images" in caplog.text


def test_set_without_copies_has_none(tmp_path, caplog):
    assert read(laid_out(tmp_path, copies=0)).copies.pairs == []
    assert "too" not in caplog.text


def test_equal_files_of_a_streamed_set_are_copies(tmp_path, monkeypatch):
    root = laid_out(tmp_path, copies=0, val=4)
    (root / "val" / "a" / "same.png").write_bytes((root / "train" / "a" / "0.png").read_bytes())
    for verify, how in (("headers", "file"), ("decode", "picture")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        with pytest.raises(DataError, match=rf"val/a/same.png is train/a/0.png \(the same {how}\)"):
            read(root, **{"data.memory": False, "data.verify": verify})


def test_mirrored_copies_are_found_in_streamed_sets_the_second_time_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = laid_out(tmp_path, copies=0, val=4)
    image = Image.open(root / "train" / "a" / "0.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image.save(root / "val" / "a" / "turned.png")
    for _ in range(2):
        with pytest.raises(DataError, match=r"val/a/turned.png is train/a/0.png \(mirrored\)"):
            read(root, **{"data.memory": False})


def test_one_picture_in_two_classes_is_named(tmp_path, caplog):
    root = laid_out(tmp_path, copies=0, val=4)
    put(root / "train" / "b" / "again.png", 0, copy=True)
    data = read(root)
    assert "one picture in two classes: train/a/0.png and train/b/again.png" in caplog.text
    assert data.copies.to_json()["two_classes"] == [["train/a/0.png", "train/b/again.png"]]


def drawn(root: Path, *, copied: int) -> Path:
    """A root without splits in which each of the first pictures has a copy of another name, encoded anew."""
    for i in range(12):
        put(root / "ab"[i % 2] / f"{i}.png", i)
        if i < copied:
            put(root / "ab"[i % 2] / f"copy{i}.png", i, copy=True)
    return root


def divided(train, val) -> list[str]:
    """Pictures that are in both parts, by the number in their names."""
    numbers = [{Path(name).stem.removeprefix("copy") for name in names} for names in (train, val)]
    return sorted(numbers[0] & numbers[1])


def test_set_of_one_scene_is_not_drawn_as_one_picture(tmp_path):
    for i in range(30):
        put(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", 0, copy=i > 0)
    with pytest.raises(DataError, match=r"images are nearly one picture, such as .* set data.allow_duplicates=true"):
        read(tmp_path / "set")
    assert len(read(tmp_path / "set", **{"data.allow_duplicates": True}).train.samples) > 0


@pytest.mark.parametrize(("total", "most"), [(11, 10), (199, 10), (200, 10), (219, 10), (220, 11), (1000, 50)])
def test_largest_group_kept_together_is_ten_images_or_a_twentieth_of_the_set(total, most):
    names = [str(i) for i in range(total)]
    for size in (most, most + 1):
        # the smaller group is not the one that is judged
        pairs = [(0, 1, "mirrored"), *((total - size, other, "mirrored") for other in range(total - size + 1, total))]
        copies = CopiesOfSet(names, total, pairs if total > size + 2 else pairs[1:], [], is_near=True)
        if size <= most:
            require_small_groups(copies)
        else:
            with pytest.raises(DataError, match=rf"^{size} of {total} images are nearly one picture, such as"):
                require_small_groups(copies)


def test_set_without_files_has_no_equal_files():
    custom = Numbers(4)
    custom.faults = []
    for reader in (custom, Scenes(count=4)):
        part = Part(reader, scan(reader, memory=False, binding=Binding("headers"))._replace(likeness=None))
        assert look_for_copies(part, part).pairs == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_drawn_split_keeps_near_copies_together(seed, tmp_path):
    data = read(drawn(tmp_path, copied=12), **{"data.seed": seed})
    names = data.train.samples.names, data.val.samples.names
    assert divided(*names) == []
    assert sum(map(len, names)) == 24
    assert len(names[1]) in (2, 4)
    assert data.copies.across == []


def test_drawn_split_keeps_equal_files_together(tmp_path):
    root = drawn(tmp_path, copied=0)
    for path in sorted(root.glob("*/*.png")):
        (path.parent / f"copy{path.name}").write_bytes(path.read_bytes())
    recipe = load_recipe("folder_resnet18", {**SMALL, "data.root": str(root)})
    assert divided(make_reader(recipe, "train").names, make_reader(recipe, "val").names) == []


def test_picture_in_two_classes_is_not_drawn(tmp_path):
    root = drawn(tmp_path, copied=0)
    for i in (0, 2, 4, 6):
        (root / "b" / f"again{i}.png").write_bytes((root / "a" / f"{i}.png").read_bytes())
    recipe = load_recipe("folder_resnet18", {**SMALL, "data.root": str(root), "data.val_share": 0.5})
    val = make_reader(recipe, "val").names
    assert set(val).isdisjoint({f"{c}{i}.png" for i in (0, 2, 4, 6) for c in ("a/", "b/again")})


def test_run_and_all_that_follows_it_have_the_same_parts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = drawn(tmp_path / "set", copied=12)
    run.train("folder_resnet18", {**SMALL, "data.root": str(root)}, run=tmp_path / "run")
    recorded = json.loads((tmp_path / "run" / "data.json").read_text())
    assert divided(recorded["train"]["names"], recorded["val"]["names"]) == []
    assert recorded["train"]["drawn"]["together"]
    recipe = load_recipe(tmp_path / "run" / "recipe.yaml")
    for split in ("train", "val"):
        reader = make_reader(recipe, split, together=recorded[split]["drawn"]["together"])
        assert list(reader.names) == recorded[split]["names"]
    measured = []
    monkeypatch.setattr(run, "measured", lambda trained, settings, samples: measured.append(list(samples.names)) or {})
    for split in ("train", "val"):
        run.evaluate(tmp_path / "run", split=split)
    assert measured == [recorded["train"]["names"], recorded["val"]["names"]]
    run.resume(tmp_path / "run", {"train.epochs": 2})
    again = json.loads((tmp_path / "run" / "data.json").read_text())
    assert [again[part]["names"] for part in ("train", "val")] == [recorded[part]["names"] for part in ("train", "val")]


def test_drawing_without_copies_is_as_it_was():
    names = [f"{i}.png" for i in range(100)]
    apart = held_out(names, share=0.2, seed=3)
    assert held_out(names, share=0.2, seed=3, together=()) == apart
    grouped = held_out(names, share=0.2, seed=3, together=[("0.png", "1.png", "2.png")])
    assert len(grouped & {"0.png", "1.png", "2.png"}) in (0, 3)
    assert len(grouped) == 20
    assert len(grouped ^ apart) <= 6
