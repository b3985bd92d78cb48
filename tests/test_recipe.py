"""Recipes: what is read, what is refused, and in which words."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unpool.data.readers import READERS
from unpool.errors import RecipeError
from unpool.models import BACKBONES, MODELS
from unpool.recipe import (
    about,
    dump_recipe,
    load_recipe,
    parse_overrides,
    recipe_name,
    recipe_names,
    recipe_path,
)
from unpool.recipe.keywords import DERIVED, options_of
from unpool.recipe.settings import Data, Model, Recipe, Task
from unpool.recipe.yaml_text import line_of, read_yaml
from unpool.tasks import TASKS

SOUND = """\
format: 1
about: a network on a folder
data:
  reader: folder
  root: images
  size: [32, 48]
  augment:
    - scale: {range: [0.5, 2]}
    - flip
model: {name: resnet18, width: 16}
task: {name: classification, label_smoothing: 0.1}
train:
  epochs: 3
  batch: 4
  lr: 1e-3
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str | bytes, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _write


@pytest.fixture
def sound(write) -> Path:
    return write(SOUND)


def refused(source: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(source, overrides)
    return str(caught.value)


def test_number_in_scientific_writing_is_a_number(sound):
    assert load_recipe(sound).train.lr == 0.001


def test_order_by_aspect_without_a_size_names_both_ways_out(sound):
    wrong = refused(sound, "data.size=null", "data.order={grouped: {by: aspect}}")
    assert "set size, such as [224, 224], or order={grouped: {by: size}}" in wrong
    overrides = (["data.train_size=[32, 32]", "data.size=null"], ["data.size=[32, 48]"])
    for sized in overrides:
        load_recipe(sound, [*sized, "data.order={grouped: {by: aspect}}"])
    load_recipe(sound, ["data.size=null", "data.order=grouped"])


def test_sides_of_shortened_images_are_two_in_order_and_stand_in_place_of_a_size(sound):
    both = ["data.shorter=60", "data.longest=100"]
    assert "shorter is 60 and size [48, 64], and both say how large" in refused(sound, "data.size=[48, 64]", *both)
    assert "expected shorter at most longest" in refused(sound, "data.size=null", "data.shorter=60", "data.longest=59")
    data = load_recipe(sound, ["data.size=null", *both, "data.order={grouped: {by: aspect}}"]).data
    assert (data.shorter, data.longest, data.keeps_size) == (60, 100, False)


def test_defaults_and_options_are_all_stated_once_loaded(sound):
    recipe = load_recipe(sound)
    assert recipe.train.momentum == 0.9
    assert recipe.data.mean == (0.485, 0.456, 0.406)
    assert recipe.data.options["val_share"] == 0.2
    assert recipe.data.steps == (("scale", {"range": [0.5, 2]}), ("flip", {"p": 0.5}))
    assert recipe.model.options["width"] == 16
    assert recipe.task.options == {
        "label_smoothing": 0.1,
        "auxiliary_weight": 0.3,
        "loss": "cross_entropy",
        "focal_gamma": 2.0,
        "baseline": "frequent",
    }


def test_grey_images_get_one_mean(sound):
    recipe = load_recipe(sound, ["data.channels=1"])
    assert recipe.data.mean == (0.449,)
    assert recipe.data.std == (0.226,)


def test_composed_network_states_the_published_backbone(sound):
    row = next(name for name, row in MODELS.items() if row.kind == "composed" and name.startswith("fcn"))
    text = ["model.name=" + row, "data.reader=folder_masks", "task.name=segmentation"]
    sound.write_text(SOUND.replace(", width: 16", "").replace(", label_smoothing: 0.1", ""))
    assert load_recipe(sound, text).model.backbone == MODELS[row].backbone


def test_root_is_absolute_from_where_the_user_stands(sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(sound).data.root == str(tmp_path / "images")
    assert load_recipe(sound, ["data.root=/other"]).data.root == "/other"


def test_home_in_root_is_expanded(sound, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert load_recipe(sound, ["data.root=~/set"]).data.root == "/home/someone/set"


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")], ids=["BOM", "CRLF"])
def test_byte_order_mark_and_windows_lines_change_nothing(write, change):
    assert load_recipe(write(change(SOUND).encode(), "a.yaml")) == load_recipe(write(SOUND, "b.yaml"))


@pytest.mark.parametrize(
    ("texts", "align"),
    [([], "stride"), (["model.weights=voc"], "sizes"), (["model.weights=voc", "model.align=stride"], "stride")],
)
def test_resolved_recipe_states_what_published_weights_set(sound, texts, align):
    sound.write_text(SOUND.replace(", width: 16", "").replace(", label_smoothing: 0.1", ""))
    segmentation = ["model.name=fcn_resnet50", "data.reader=folder_masks", "task.name=segmentation"]
    assert load_recipe(sound, [*segmentation, *texts]).model.options["align"] == align


def test_alignment_of_no_network_is_a_mistake(sound):
    sound.write_text(SOUND.replace(", width: 16", "").replace(", label_smoothing: 0.1", ""))
    texts = ["model.name=fcn_resnet50", "data.reader=folder_masks", "task.name=segmentation", "model.align=corners"]
    with pytest.raises(RecipeError, match=r"align.*corners"):
        load_recipe(sound, texts)


def test_text_that_is_read_again_has_its_own_values():
    read_yaml("a: [1, {b: 2}]", where="x")["a"][1]["b"] = 3
    assert read_yaml("a: [1, {b: 2}]", where="x") == {"a": [1, {"b": 2}]}


def test_words_that_old_yaml_turns_into_other_things_stay_words(sound):
    sound.write_text(SOUND.replace("reader: folder\n", "reader: folder\n  classes: [no, on, off, yes]\n"))
    assert load_recipe(sound).data.options["classes"] == ["no", "on", "off", "yes"]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    lr=st.floats(1e-12, 1e6),
    seed=st.integers(0, 2**63 - 1),
)
def test_recipe_survives_being_written_and_read(sound, tmp_path, text, lr, seed):
    recipe = load_recipe(sound, {"about": text, "data.root": f"/{text}", "train.lr": lr, "train.seed": seed})
    path = tmp_path / "again.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe
    assert recipe.train.lr == lr
    assert recipe.about == text


def test_recipe_object_can_be_changed_and_loaded_again(sound):
    recipe = load_recipe(sound)
    assert load_recipe(recipe, ["train.epochs=9"]).train.epochs == 9
    assert recipe.train.epochs == 3


def test_override_replaces_one_value(sound):
    assert load_recipe(sound, ["train.lr=0.01"]).train.lr == 0.01


def test_later_override_wins(sound):
    assert load_recipe(sound, ["train.lr=0.01", "train.lr=0.02"]).train.lr == 0.02


@pytest.mark.parametrize("root", ["/2024", "/a: b", "/#1", "/[x]", "/*star", "/no", "/a=b", "/é😀"])
def test_root_in_an_override_is_taken_as_written(sound, root):
    assert load_recipe(sound, [f"data.root={root}"]).data.root == root


def test_null_takes_a_value_away(sound):
    assert load_recipe(sound, ["data.size=null"]).data.size is None


def test_overrides_may_be_python_values(sound):
    recipe = load_recipe(sound, {"data.root": Path("/x"), "data.size": (8, 9), "train.ema": None})
    assert (recipe.data.root, recipe.data.size, recipe.train.ema) == ("/x", (8, 9), None)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lr", "is no key=value"),
        ("/", "'/' is a folder; of the data set, write data.root=/"),
        ("=3", "is no key=value"),
        ("train.lr=", "write train.lr=null for none"),
        ("trian.lr=3", "no section 'trian'; did you mean 'train'?"),
        ("train=3", "must name one key of train"),
        ("data.augment.flip=3", "must name one key of data"),
        ("train.lr=[1", "is not plain YAML at line 1, column"),
        ("train.lr=*a", "alias"),
        ("train.lr=!!python/object:os.system x", "tags"),
        ("data.root=/\udcff", "is no text"),
    ],
)
def test_override_that_is_none_is_refused(sound, override, words):
    assert words in refused(sound, override)


def test_only_some_keys_may_be_overridden_where_it_is_said():
    with pytest.raises(
        RecipeError, match=r"train\.lr cannot be overridden here; only data\.root and train\.epochs can"
    ):
        parse_overrides(["train.epochs=3", "train.lr=1"], only=("data.root", "train.epochs"))


def test_mistake_in_an_override_is_not_blamed_on_the_file(sound):
    assert refused(sound, "train.batch=0").endswith("(in the override)")


def test_one_text_is_no_list_of_overrides(sound):
    with pytest.raises(TypeError, match="give a list"):
        load_recipe(sound, "train.lr=3")


def test_misspelt_key_names_file_section_line_and_neighbour(write):
    path = write(SOUND.replace("epochs: 3", "epochs: 3\n  learning_rat: 1"))
    assert refused(path) == f"{path}: train has no key 'learning_rat'; did you mean 'lr'? (line 14)"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("train:", "trian:", "the recipe has no key 'trian'; did you mean 'train'? (line 12)"),
        ("train:", "trian:", "the recipe lacks 'train'"),
        ("  lr: 1e-3\n", "", "train lacks 'lr'; write train.lr (line 12)"),
        ("root:", "rot:", "data (reader 'folder') has no key 'rot'; did you mean 'root'? (line 5)"),
        ("size:", "val_shar: 0.1\n  size:", "has no key 'val_shar'; did you mean 'val_share'? (line 6)"),
        ("width", "widht", "model ('resnet18') has no key 'widht'; did you mean 'width'? (line 10)"),
        ("label_s", "labels_s", "task ('classification') has no key 'labels_smoothing'; did you mean"),
        ("range", "rnge", "augmentation 'scale' has no key 'rnge'; did you mean 'range'? (line 8)"),
        ("reader: folder", "reader: foldr", "no reader is called 'foldr'; did you mean 'folder'? (line 4)"),
        ("- flip", "- flp", "no augmentation is called 'flp'; did you mean 'flip'? (line 9)"),
        ("name: resnet18", "name: resnet81", "no network is called 'resnet81'; did you mean"),
        ("name: classification", "name: clasification", "did you mean 'classification'? (line 11)"),
        (
            "width: 16",
            "backbone: vgg16",
            "resnet18 is complete and takes no backbone; leave model.backbone out (line 10)",
        ),
        ("width: 16", "num_classes: 3", "takes no key 'num_classes': it comes from the data"),
    ],
)
def test_unknown_name_or_key_is_named_with_its_place(write, old, new, words):
    assert words in refused(write(SOUND.replace(old, new, 1)))


def test_all_mistakes_come_in_one_message(write):
    message = refused(write(SOUND.replace("batch: 4", "batch: 0").replace("epochs: 3", "epochs: 0")))
    assert "2 mistakes" in message
    assert "train.batch is 0" in message
    assert "train.epochs is 0" in message


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "'32'", "true", "null", "[1]", "{a: 1}", "1e3", "4.0", ".nan"])
def test_batch_must_be_a_whole_number(sound, value):
    message = refused(sound, f"train.batch={value}")
    assert "train.batch is " in message
    assert "it must be auto or a whole number at least 1" in message


@pytest.mark.parametrize(
    "value", ["0", "1e-300", "1e7", "-0.1", ".nan", ".inf", "-.inf", "1e999", "'0.1'", "true", "null", "abc"]
)
def test_lr_must_be_positive_and_finite(sound, value):
    assert "it must be a finite number at least 1e-12 and at most 1000000" in refused(sound, f"train.lr={value}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs=0", "train.epochs is 0; it must be a whole number at least 1"),
        ("train.momentum=1", "at least 0 and below 1"),
        ("train.ema=1.0", "above 0 and below 1 or null"),
        ("train.optimizer=sdg", "sgd or nesterov or caffe_sgd or rmsprop or adam or adamw"),
        ("train.drop_last=1", "true or false"),
        ("train.seed=-1", "at least 0"),
        ("train.milestones=[3, 2]", "must be set together"),
        ("train.schedule=step", "must be set together"),
        ("data.size=[0, 4]", "a list of 2, each a whole number at least 1"),
        ("data.size=[4]", "a list of 2"),
        ("data.size=64", "a list of 2"),
        ("data.crop=0", "at least 0.01 and at most 1"),
        ("data.channels=0", "a whole number at least 1"),
        ("data.channels=true", "a whole number at least 1"),
        ("data.bands=[0, 1, 2]", "a whole number at least 1"),
        ("data.bands=[1, 2]", "bands names 2 and channels is 3; name one a channel"),
        ("data.range=[5, 5]", "range is [5.0, 5.0]; expected [black, white], the lower one first"),
        ("data.mean=[0.5]", "mean has 1 numbers and channels is 3"),
        ("data.value_range=[1, 0]", "value_range is [1.0, 0.0]; expected two numbers, the lower one first"),
        ("data.mean_image=mean.npy", "mean_image needs normalize 'location', which is 'channel'"),
        ("data.multiple=0", "multiple"),
        ("data.shorter=0", "a whole number at least 1"),
        ("data.shorter=60", "shorter is 60 and longest None; set both, such as 600 and 1000"),
        ("data.rule=squeeze", "rule"),
        ("data.std=[1, 1, 0]", "at least 1e-06"),
        ("data.memory=yes", "auto or true or false"),
        ("data.workers=-1", "auto or a whole number at least 0"),
        ("data.augment={flip: {}}", "data.augment is"),
        ("data.augment=[{flip: {}, scale: {}}]", "data.augment is"),
        ("data.augment=[{flip: {p: 2}}]", "augmentation 'flip'"),
        ("data.augment=[{flip: {p: .nan}}]", "it must be finite"),
        (
            "data.augment=[{scale: {range: wide}}]",
            'range is "wide"; it must be a list of 2, each a finite number at least 0.01 and at most 100',
        ),
        ("data.size=64", "or null: data.size=[64,64] (in the override)"),
        ("data.size=48x64", "data.size=[48,64]"),
        ("data.size=(48, 64)", "data.size=[48,64]"),
        ("data.size=48,64,3", "or null (in the override)"),
        ("data.bands=4", "data.bands=[4]"),
        ("data.augment=[rotate]", "augmentation 'rotate' lacks 'degrees'"),
        ("data.order=wieghted", "no order is called 'wieghted'; did you mean 'weighted'?"),
        ("data.order={shuffled: {}, grouped: {}}", "data.order is"),
        ("data.order=null", "data.order is null"),
        ("data.order={grouped: {by: colour}}", 'by is "colour"; it must be size or aspect'),
        ("data.order=p_times_k", "order 'p_times_k' lacks 'per_class'"),
        ("data.val_share=half", "it must be a finite number"),
        ("data.val_share='0.3'", "it must be a finite number"),
        ("model.width='16'", "it must be a whole number"),
        ("model.width=16.0", "it must be a whole number"),
        ("model.width=true", "it must be a whole number"),
        ("model.width=wide", 'width is "wide"; it must be a whole number'),
    ],
)
def test_value_out_of_range_names_field_value_and_range(sound, override, words):
    assert words in refused(sound, override)


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\x85", "\u2028", "\u2029", "\ufeff", "\t", "😀"])
def test_text_with_any_line_break_survives(sound, tmp_path, separator):
    recipe = load_recipe(sound, {"about": f"a{separator}b"})
    path = tmp_path / "again.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8", newline="")
    assert load_recipe(path).about == f"a{separator}b"


def test_milestones_rise(sound):
    assert "later than the one before" in refused(sound, "train.schedule=step", "train.milestones=[3, 2]")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("rms_decay=0.9", "rms_decay is 0.9 and optimizer 'sgd'; only optimizer 'rmsprop' reads it: leave it out"),
        ("patience=3", "patience is 3 and schedule 'constant'; only schedule 'plateau' reads it"),
        ("drops=1 schedule=cosine", "drops is 1 and schedule 'cosine'; only schedule 'plateau' reads it"),
        ("drops=4 schedule=plateau", "at least 1 and at most 3"),
        ("schedule=plateau gamma=1", "gamma is 1 and schedule 'plateau' lowers the rate"),
        ("schedule=plateau stop_after=4", "stop_after is 4 and schedule 'plateau', which ends the run itself"),
        ("optimizer=nesterov momentum=0", "take optimizer 'sgd'"),
        ("ema=0.9 swa=0.5", "ema is 0.9 and swa 0.5, two averages of the weights: leave one out"),
        ("swa=0.5 schedule=plateau", "swa is 0.5, a share of the epochs, and how many there are is known only at"),
        ("swa=0.5 stop_after=2", "leave one out"),
        ("swa=1", "above 0 and below 1"),
        ("swa_cycle=2", "swa_cycle is set and swa is not"),
        ("swa_lr=0.1", "swa_lr is set and swa is not"),
        ("norm_momentum=0", "average or a finite number above 0 and at most 1"),
    ],
)
def test_keys_of_training_that_exclude_one_another_or_are_read_by_nobody_are_named(sound, overrides, words):
    assert words in refused(sound, "train.ema=null", *(f"train.{text}" for text in overrides.split()))


def test_keys_that_another_rule_reads_may_be_written_with_their_default(sound):
    recipe = load_recipe(sound, ["train.rms_decay=0.99", "train.patience=5", "train.drops=3"])
    assert load_recipe(recipe).train == recipe.train


@pytest.mark.parametrize(
    ("swa", "epochs", "cycle", "averaged"),
    [
        (0.75, 20, None, [15, 16, 17, 18, 19, 20]),
        (0.75, 20, 2, [15, 17, 19]),
        (0.9, 2, None, [1, 2]),
        (0.01, 3, None, [1, 2, 3]),
        (0.5, 1, None, [1]),
    ],
)
def test_weights_are_averaged_after_the_share_of_the_epochs_and_never_before_the_first(
    sound, swa, epochs, cycle, averaged
):
    values = {"train.ema": None, "train.swa": swa, "train.epochs": epochs, "train.swa_cycle": cycle}
    assert list(load_recipe(sound, values).train.averaged_epochs) == averaged


def test_newer_format_says_so_before_any_other_mistake(write):
    newer = SOUND.replace("format: 1", "format: 2").replace("train:", "trains:")
    assert refused(write(newer)).endswith(
        "was made by a newer version of Unpool: it has format 2, and this version reads 1; update Unpool"
    )


def test_format_that_never_was_is_refused(write):
    assert "format is 0; it must be 1" in refused(write(SOUND.replace("format: 1", "format: 0")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; a recipe is a mapping"),
        ("# nothing\n", "is empty"),
        ("- a\n- b\n", "holds a list at line 1, column 1"),
        ("just words", "holds a str"),
        ("data:\n\treader: folder\n", "line 2, column 1: found character '\\t' that cannot start any token; indent"),
        ("a: [1, 2", "line 1, column 9"),
        ("a: 1\na: 2\n", 'line 2, column 1: found duplicate key "a"'),
        ("a: &x [1]\nb: *x\n", "line 2, column 4: the alias *x is not allowed"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1, column 4: could not determine a constructor"),
        ("a: !thing 1\n", "tags"),
        ("a: 1\n---\nb: 2\n", "a second document starts here"),
        ("1.5: 2\n", "the key 1.5, which is no word"),
        ("true: 2\n", "the key True, which is no word"),
        ("data: {1: 2, '1': 3}\n", "has one key twice among 1, '1'"),
        ("a: !!binary aGk=\n", "has a bytes"),
        ("a: \x07\n", "special characters are not allowed"),
        ("a: 2020-13-01\n", "cannot be read"),
        ("a: " + "[" * 5000, "more than 20 deep"),
        ("a: " + "1" * 5000, "cannot be read"),
        ("a: 1\n" * 300_000, "is this the right file?"),
        (b"about: caf\xe9\n", "is not UTF-8 text at byte 10"),
        ("data: 5\n", "data is 5; it must be a mapping"),
        ("train: null\n", "train is null; it must be a mapping"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_text_that_is_no_recipe_is_refused_with_its_place(write, text, words):
    assert words in refused(write(text))


def test_mapping_of_ids_is_written_as_messages_propose_it():
    recipe = load_recipe("folder_unet", ["data.root=x", "data.mask_values={0: 0, 255: 1}"])
    assert recipe.data.options["mask_values"] == {"0": 0, "255": 1}


def test_alias_bomb_is_refused_before_it_grows(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert "alias" in refused(write("\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "words"), [("none.yaml", "no recipe file"), (".", "is a folder"), ("a/b", "no recipe file")]
)
def test_missing_file_is_named(tmp_path, name, words):
    assert words in refused(tmp_path / name)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(
        RecipeError, match=r"no recipe is called 'camvid_unte', and no file; did you mean 'camvid_unet'\?"
    ):
        load_recipe("camvid_unte")


def test_shipped_names_are_unique_and_sorted():
    assert recipe_names() == sorted(set(recipe_names()))
    assert len(recipe_names()) == len(list(recipe_path("camvid_unet").parents[1].rglob("*.yaml")))


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe_is_sound_and_says_what_it_is_in_one_line(name):
    recipe = load_recipe(name)
    assert about(name) == recipe.about
    assert recipe_name(name) == name


def test_name_of_a_file_is_its_stem(sound):
    assert recipe_name(sound) == "mine"


def test_line_of_a_part_that_is_not_there_is_that_of_what_holds_it():
    text = "format: 1\naugment:\n  - flip\n  - crop\n"
    assert [line_of(text, path) for path in (["augment", 1], ["augment", "flip"], ["augment", 2, "x"])] == [4, 2, 2]


def test_infinity_is_never_written(sound):
    assert all(math.isfinite(v) for v in load_recipe(sound).train.model_dump().values() if isinstance(v, float))


def test_weights_to_start_from_are_a_word_or_a_whole_path(sound, tmp_path, monkeypatch):
    assert load_recipe(sound).model.weights is None
    assert "weights: null" in dump_recipe(load_recipe(sound))
    assert load_recipe(sound, ["model.weights=imagenet"]).model.weights == "imagenet"
    monkeypatch.chdir(tmp_path)
    written = load_recipe(sound, ["model.weights=start.safetensors"])
    assert written.model.weights == str(tmp_path / "start.safetensors")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "model.weights=imagnet",
            "weights is 'imagnet'; it must be imagenet or voc or coco or efficientnet_lite0 or hed_vgg16, or a file",
        ),
        ("model.weights=voc", "no weights 'voc' are published for resnet18"),
        ("model.wieghts=imagenet", "weights"),
    ],
)
def test_weights_that_nobody_published_are_refused_in_the_recipe(sound, override, says):
    told = refused(sound, override)
    assert says in told
    assert "in the override" in told


def test_no_option_of_a_row_is_hidden_by_a_key_of_its_section():
    rows = {
        Data: [options_of(row, DERIVED["data"]) for row in READERS.values()],
        Task: [options_of(row, DERIVED["task"]) for row in TASKS.values()],
        Model: [options_of(row.build, DERIVED["model"]) for row in (MODELS | BACKBONES).values()],
    }
    for kind, options in rows.items():
        assert set().union(*options) & set(kind.model_fields) == set()


def test_recipe_of_a_run_older_than_the_square_loads_with_its_default():
    old = load_recipe("lsp_hourglass").model_dump(mode="json")
    del old["data"]["square"]
    assert load_recipe(Recipe.model_validate_json(json.dumps(old))).data.options["square"] == 1.4


@pytest.mark.parametrize("entries", ["{}", "{shuffled: {}, grouped: {}}"])
def test_setting_of_one_entry_says_that_it_has_one(sound, entries):
    assert "it must be a mapping with one entry" in refused(sound, f"data.order={entries}")


def test_format_is_a_number_and_true_is_none(write):
    assert "format is true" in refused(write(SOUND.replace("format: 1", "format: true")))
