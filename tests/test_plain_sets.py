"""Plain data sets, loaders and iterables go through every verb, and what cannot be known of them is never guessed."""

import logging
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

import unpool
from unpool.assemble.copies import Part, judge_copies, look_for_copies
from unpool.assemble.plain import wrap
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.recipe import load_recipe, load_run_recipe
from unpool.types import DataInfo

PLAIN = {"train.precision": "float32", "train.memory_format": "contiguous", "train.batch": 8}


class Stripes(Dataset):
    """Noisy stripes, upright or level, as floats from 0 to 1."""

    classes = ("level", "upright")

    def __init__(self, count, first=0, form=torch.clone):
        self.count, self.first, self.form = count, first, form

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(self.first + index)
        noise = torch.randint(0, 100, (3, 16, 16), generator=generator)
        bars = 120 * (torch.arange(16) // 4 % 2)
        return self.form(((noise + (bars if index % 2 else bars[:, None])) / 255).float()), index % 2


class Turned(Stripes):
    """Its transform draws."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return (image.flip(-1) if torch.rand(()) < 0.5 else image), label


class Stream(IterableDataset):
    classes = Stripes.classes

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield from (self.data[i] for i in range(len(self.data)))


class Named(list):
    """Samples in a list, and names of their classes."""

    def __init__(self, samples, classes):
        super().__init__(samples)
        self.classes = classes


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(32, 2)
    )


TRAIN, VAL = Stripes(24), Stripes(8, first=10_000)


def train(folder, *, data=TRAIN, val=VAL, over=(), **changes):
    settings = {"task": "classification", "model": network(), "epochs": 2, **changes}
    return unpool.train(overrides={**PLAIN, **dict(over)}, train=data, val=val, run=Path(folder), **settings)


def weights(run):
    return load_file(Path(run) / "model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_run_on_a_plain_set_leaves_all_that_a_folder_does(tmp_path):
    network()  # seeds torch's generator, as `train` here does once more
    state = torch.get_rng_state()
    metrics = train(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)  # else each split that is drawn after a run would be the same
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"report.html", "recipe.yaml", "config.json", "data.json", "model.safetensors", "metrics.json"} <= left
    assert metrics["images"] == 8
    recipe = load_run_recipe(tmp_path / "run")
    assert (recipe.data.reader, recipe.data.size, recipe.data.channels) == ("dataset", (16, 16), 3)
    assert (recipe.data.mean, recipe.data.std) == ((0.0,) * 3, (1.0,) * 3)  # the network gets what the set gives
    assert recipe.data.options["white"] == 1.0


def test_every_form_of_the_same_images_trains_the_same_weights(tmp_path):
    forms = {
        "float": lambda image: image,
        "uint8": lambda image: (image * 255).round().to(torch.uint8),
        "pillow": lambda image: Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()),
        "array": lambda image: image.permute(1, 2, 0).numpy(),
    }
    found = []
    for name, form in forms.items():
        sets = {"data": Stripes(24, form=form), "val": Stripes(8, first=10_000, form=form)}
        train(tmp_path / name, over={"data.mean": [0.0] * 3, "data.std": [1.0] * 3}, **sets)
        found.append(weights(tmp_path / name))
    assert all(equal(found[0], other) for other in found[1:])


def test_a_loader_says_batch_and_drop_last(tmp_path):
    loader = DataLoader(TRAIN, 5, shuffle=True, drop_last=False)
    unpool.train(
        task="classification", overrides={k: v for k, v in PLAIN.items() if k != "train.batch"}, model=network(),
        train=loader, val=DataLoader(VAL, 3), epochs=1, run=tmp_path / "run",
    )  # fmt: skip
    recipe = load_run_recipe(tmp_path / "run")
    assert (recipe.train.batch, recipe.train.drop_last) == (5, False)


def test_resume_goes_on_bit_for_bit(tmp_path):
    train(tmp_path / "whole", epochs=4)
    train(tmp_path / "part", epochs=4, over={"train.time_limit_s": None})
    part = train(tmp_path / "short", epochs=2)["run"]
    unpool.resume(Path(part), {"train.epochs": 4}, model=network(), train=TRAIN, val=VAL)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "part"))
    again = unpool.resume(Path(part), {"train.epochs": 4}, model=network(), train=TRAIN, val=VAL)
    assert again["already_complete"]


def test_resume_refuses_samples_that_changed(tmp_path):
    run = train(tmp_path / "run")["run"]

    class Changed(Stripes):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image * 0.5 if index == 7 else image), label

    with pytest.raises(DataError, match=r"train has changed train\[7\]"):
        unpool.resume(Path(run), {"train.epochs": 3}, model=network(), train=Changed(24), val=VAL)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DataLoader(TRAIN, 8, sampler=WeightedRandomSampler([1.0] * 24, 16)), "sampler of its own"),
        (DataLoader(Stream(TRAIN), 8), "IterableDataset"),
        (Stream(TRAIN), "IterableDataset"),
    ],
    ids=["sampler", "loader of an iterable", "iterable"],
)
def test_what_has_no_order_of_ours_trains_and_refuses_resume(tmp_path, data, said):
    metrics = train(tmp_path / "run", data=data, epochs=2)
    assert metrics["training"]["images_seen"] == (32 if "sampler" in said else 48)
    with pytest.raises(RecipeError, match=said):
        unpool.resume(tmp_path / "run", {"train.epochs": 3}, model=network(), train=data, val=VAL)


def test_an_iterable_trains_as_its_list_in_the_same_order(tmp_path):
    train(tmp_path / "stream", data=Stream(TRAIN), epochs=1)
    in_turn = DataLoader(TRAIN, batch_sampler=[list(range(i, i + 8)) for i in (0, 8, 16)])
    train(tmp_path / "list", data=in_turn, epochs=1)
    assert equal(weights(tmp_path / "stream"), weights(tmp_path / "list"))


def test_parts_of_one_set_by_samplers_share_no_sample(tmp_path):
    whole = Stripes(32)
    parts = [DataLoader(whole, 8, sampler=SubsetRandomSampler(part)) for part in (range(24), range(24, 32))]
    metrics = train(tmp_path / "run", data=parts[0], val=parts[1])
    assert metrics["data"]["train"], metrics["data"]["val"] == (24, 8)


def test_the_same_samples_in_both_parts_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"validation images .*are training images too"):
        train(tmp_path / "run", val=Subset(TRAIN, range(8)))


class Anew(Stripes):
    """No picture looks like one before."""

    def __getitem__(self, index):
        return torch.rand(3, 16, 16), index % 2


def test_the_same_samples_are_known_by_their_positions_where_images_are_drawn_anew(caplog):
    whole = Anew(24)
    parts = [Subset(whole, range(4, 24)), ConcatDataset([Anew(2), Subset(whole, range(5))])]
    recipe, info = load_recipe("dataset_classification", {"data.white": 1.0}), DataInfo(classes=Stripes.classes)
    readers = [wrap(data, recipe, info, part=name).reader for data, name in zip(parts, ("train", "val"), strict=True)]
    copies = look_for_copies(*(Part(reader, scan(reader, memory=False)) for reader in readers))
    assert copies.across == [(0, 20 + 6, "the same sample")]
    assert "not looked for" in copies.to_json()["looked_for"]
    with caplog.at_level(logging.INFO, logger="unpool"), pytest.raises(DataError, match=r"val\[6\] is train\[0\]"):
        judge_copies(copies, allowed=False)
    assert "drawn anew in each reading, so that copies of pictures are not looked for" in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_that_draws_is_read_anew_in_each_epoch(tmp_path, workers, caplog):
    seen = []

    class Watched(Turned):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    if workers:
        train(tmp_path / "one", data=Turned(24), over={"data.workers": 1})
        train(tmp_path / "two", data=Turned(24), over={"data.workers": 1})
        assert equal(weights(tmp_path / "one"), weights(tmp_path / "two"))  # by seed, epoch and position
    else:
        with caplog.at_level(logging.WARNING, logger="unpool"):
            train(tmp_path / "run", data=Watched(24), epochs=3, over={"data.workers": 0})
        assert seen.count(5) >= 4
        assert "another run, or a resumed one, draws others" in caplog.text


def test_parts_of_a_set_that_draws_are_named_and_resumed_and_no_others_are(tmp_path, caplog):
    whole, quick = Turned(32), {"over": {"data.workers": 0}, "epochs": 1}
    sets = {"train": Subset(whole, range(24)), "val": Subset(whole, range(24, 32))}
    with caplog.at_level(logging.WARNING, logger="unpool"):
        run = Path(train(tmp_path / "run", data=sets["train"], val=sets["val"], **quick)["run"])
    assert "leave random transforms out of it" in caplog.text
    with pytest.raises(DataError, match=r"train has changed train\[0\]"):
        unpool.resume(run, {"train.epochs": 2}, model=network(), train=Turned(24, first=99), val=sets["val"])
    assert len(unpool.resume(run, {"train.epochs": 2}, model=network(), **sets)["history"]) == 2


def test_a_set_with_a_generator_of_its_own_is_named_and_resumed(tmp_path, caplog):
    class Own(Stripes):
        generator = None

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image.flip(-1) if self.generator.random() < 0.5 else image), label

    quick = {"over": {"data.workers": 0}, "epochs": 1}
    data = Own(24)
    data.generator = np.random.default_rng(0)
    with caplog.at_level(logging.WARNING, logger="unpool"):
        run = Path(train(tmp_path / "run", data=data, **quick)["run"])
    assert "train draws random numbers that cannot be seeded" in caplog.text
    assert "a thread reads" not in caplog.text
    assert unpool.resume(run, {"train.epochs": 2}, model=network(), train=data, val=VAL)["run"]


@pytest.mark.parametrize("reading", [DataLoader(VAL, sampler=WeightedRandomSampler([1.0] * 8, 4)), VAL])
def test_a_sampler_that_measures_other_samples_each_time_is_refused(tmp_path, reading):
    torch.manual_seed(0)
    expected = pytest.raises(RecipeError, match="the sampler of val takes other samples each time")
    with nullcontext() if reading is VAL else expected:
        train(tmp_path / "run", val=reading, epochs=1)


class Noted(nn.Sequential):
    """Notes which images it learns from."""

    def forward(self, image):
        if self.training and torch.is_grad_enabled():
            self.seen += [bytes(one.numpy().tobytes()) for one in image]
        return super().forward(image)


def normed():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_statistics_of_batch_norm_ask_a_sampler_no_more_often(tmp_path):
    class Counting(SequentialSampler):
        asked = 0

        def __iter__(self):
            self.asked += 1
            return super().__iter__()

    sampler = Counting(TRAIN)
    train(tmp_path / "run", data=DataLoader(TRAIN, 12, sampler=sampler), model=normed())
    assert sampler.asked == 2


def test_a_stream_is_read_whole_in_each_epoch_beside_statistics_of_batch_norm(tmp_path, caplog):
    class Shuffled(Stream):
        begun = 0

        def __iter__(self):
            self.begun += 1
            yield from (self.data[i] for i in np.random.default_rng(self.begun).permutation(len(self.data)).tolist())

    model = Noted(*normed())
    model.seen = []
    with caplog.at_level(logging.WARNING, logger="unpool"):
        train(tmp_path / "run", data=Shuffled(Stripes(120)), model=model, epochs=2)
    assert [len(set(model.seen[first:][:120])) for first in (-240, -120)] == [120, 120]
    assert "draws random numbers" not in caplog.text


def test_evaluate_and_predict_on_what_was_trained(tmp_path):
    run = Path(train(tmp_path / "run", model="cifar_resnet20", over={"train.batch": 8})["run"])
    again = unpool.evaluate(run, reader=VAL)
    assert again["top1"] == unpool.resume(run, train=TRAIN, val=VAL)["top1"]
    swapped = [(image, 1 - label) for image, label in (VAL[i] for i in range(8))]
    assert unpool.evaluate(run, reader=Named(swapped, ["upright", "level"]))["top1"] == again["top1"]  # by name
    for changed, said in [
        (Named(swapped, ["upright", "oblique"]), "unknown classes 'oblique'"),
        (Stripes(8, form=lambda image: (image * 255).byte()), "the images of reader hold whole numbers"),
    ]:
        with pytest.raises(DataError, match=said):
            unpool.evaluate(run, reader=changed)
    array = (VAL[1][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "stripes.png")
    (record,) = unpool.predict(run, [tmp_path / "stripes.png"], tmp_path / "out")
    assert record["class"] in Stripes.classes
    (direct,) = unpool.load(run)(array)
    assert direct["class"] == record["class"]


def test_a_network_of_ones_own_is_asked_for_again(tmp_path):
    run = Path(train(tmp_path / "run")["run"])
    with pytest.raises(RecipeError, match="model="):
        unpool.evaluate(run, reader=VAL)
    assert unpool.evaluate(run, reader=VAL, model=network())["images"] == 8
    assert "Sequential (a network of your own)" in str(unpool.load(run, model=network()))
    assert all("Sequential" in (run / name).read_text() for name in ("config.json", "recipe.yaml", "report.html"))
    assert "resnet18" not in (run / "config.json").read_text()
    Image.new("RGB", (16, 16)).save(tmp_path / "black.png")
    (record,) = unpool.predict(run, [tmp_path / "black.png"], tmp_path / "out", model=network())
    assert record["class"] in Stripes.classes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": "folder_resnet18"}, "both a recipe and a task"),
        ({"task": None}, "neither a recipe nor a task"),
        ({"task": "clasification"}, "expected one of captions, classification, "),
        ({"val": None}, "val is missing: .*random_split"),
        ({"model": "resnet999"}, "resnet999"),
        ({"model": 3}, "model is a int"),
        ({"model": network().half()}, "weight 0.weight of the network is float16"),
        ({"data": "photos"}, "train is a str"),
        ({"data": []}, "train has no samples"),
        ({"data": [(np.zeros((8, 8)), 0)]}, "no `classes`: give classes="),
        ({"classes": ["a", "a"]}, "each of them once"),
        ({"classes": "ab"}, "expected a list of names"),
    ],
)
def test_what_is_missing_or_wrong_is_named_before_a_folder_is_made(tmp_path, changes, said):
    changes = {"data": TRAIN, "val": VAL, **changes}
    with pytest.raises((RecipeError, DataError), match=said):
        train(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_sets_whose_classes_differ_are_refused(tmp_path):
    class Swapped(Stripes):
        classes = ("upright", "level")

    with pytest.raises(DataError, match="the classes are"):
        train(tmp_path / "run", val=Swapped(8, first=10_000))
    with pytest.raises(DataError, match="`classes` of val is upright, level, by number"):
        train(tmp_path / "run", val=Swapped(8, first=10_000), classes=["level", "upright"])
    with pytest.raises(DataError, match="`classes` of train is level, upright, by number"):
        train(tmp_path / "run", classes=["upright", "level"])
    for by in ({}, {"task": None, "recipe": "dataset_classification"}):
        with pytest.raises(DataError, match="val differs in its names"):
            train(tmp_path / "run", val=Swapped(8, first=10_000), classes=["flach", "hoch"], **by)


def test_a_recipe_of_plain_sets_says_how_it_is_started(tmp_path):
    with pytest.raises(RecipeError, match=r"call unpool\.train\(task=\.\.\., train=DATASET"):
        unpool.train("dataset_classification", run=tmp_path / "run")


def test_a_label_that_is_no_class_names_its_sample(tmp_path):
    with pytest.raises(DataError, match=r"train\[1\]: label \[1\], allowed are 0 to 0"):
        train(tmp_path / "run", classes=["level"])


def test_an_error_of_the_data_set_names_its_sample(tmp_path):
    class Broken(Stripes):
        def __getitem__(self, index):
            if index == 13:
                raise KeyError("label")
            return super().__getitem__(index)

    with pytest.raises(DataError, match=r"train\[13\]: the data set raised KeyError: 'label'"):
        train(tmp_path / "run", data=Broken(24))


def test_a_file_that_is_missing_is_left_out_of_the_first_look_too():
    class Incomplete(Stripes):
        def __getitem__(self, index):
            if index == 0:
                raise FileNotFoundError("0.png")
            return super().__getitem__(index)

    reader = wrap(Incomplete(24), load_recipe("dataset_classification"), None, part="train").reader
    assert reader[1]["image"].shape == (3, 16, 16)


def test_a_normalised_set_trains_on_what_it_gives(tmp_path):
    class Normalised(Stripes):
        class transform:  # noqa: N801, as torchvision's Normalize is found
            mean, std = [0.4, 0.4, 0.4], [0.2, 0.2, 0.2]

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image - 0.4) / 0.2, label

    seen = []

    class Watching(nn.Sequential):
        def forward(self, image):
            seen.append(image.detach().clone())
            return super().forward(image)

    data, val = Normalised(24), Normalised(8, first=10_000)
    train(tmp_path / "run", data=data, val=val, model=Watching(*network()), epochs=1)
    recipe = load_run_recipe(tmp_path / "run")
    assert recipe.data.mean == (0.4,) * 3
    assert recipe.data.options["normalized"] is True
    expected = torch.stack([val[i][0] for i in range(8)])
    assert any(x.shape == expected.shape and torch.allclose(x, expected, atol=1e-5) for x in seen)


def test_augmentation_is_asked_for_by_the_recipe_alone(tmp_path):
    train(tmp_path / "plain", epochs=1)
    train(tmp_path / "flipped", epochs=1, over={"data.augment": [{"flip": {}}]})
    assert load_run_recipe(tmp_path / "plain").data.augment == ()
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "flipped"))


def test_several_processes_whose_threads_would_draw_alike_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("unpool.assemble.processes.world_size", lambda: 2)
    with pytest.raises(RecipeError, match="several processes would draw equal ones for different samples"):
        train(tmp_path / "run", data=Turned(24), over={"data.workers": 0})
