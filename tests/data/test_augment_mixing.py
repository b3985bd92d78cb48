"""Mixed images: what is mixed with what, how much, and what the loss learns of it."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from unpool.assemble import loaders
from unpool.assemble.data import read_data
from unpool.assemble.loaders import _require_others, _require_unpadded, _shared_out, make_train_loader
from unpool.data.augment import AUGMENTATIONS, Augment
from unpool.data.draws import Draws
from unpool.data.order import ByRank, Sequential
from unpool.errors import RecipeError
from unpool.ops.mixing import PAIR, partners
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe
from unpool.tasks.classification import Classification
from unpool.training.preflight import head
from unpool.types import Batch, DataInfo, Sample

MIXING = ["mixup", "cutmix"]
SIDE = 20
COUNT = 4000


def sample(index: int, height: int = SIDE, width: int = SIDE + 4) -> Sample:
    """One grey value by itself, 3 times the label."""
    image = torch.full((3, height, width), 3 * index, dtype=torch.uint8)
    return {"image": image, "label": torch.tensor(index), "index": torch.tensor(index)}


def change(name: str, *, seed: int = 0, before: tuple = (), **options) -> Augment:
    steps = [*before, AUGMENTATIONS[name](**options)]
    return Augment(steps, size_hw=None, preprocessing=Preprocessing(), info=DataInfo(), seed=seed)


def mixed(name: str, *, count: int = 8, epoch: int = 0, **options) -> Batch:
    return change(name, **options)([sample(i) for i in range(count)], epoch)


def finished(name: str, **options) -> Batch:
    """Of many images by themselves: what their numbers are."""
    image = torch.zeros(COUNT, 1, 40, 40, dtype=torch.uint8)
    draws, size_hw = Draws(0, 0, index=torch.arange(COUNT)), torch.full((COUNT, 2), 40.0)
    return AUGMENTATIONS[name](**options).finish(image, draws, size_hw=size_hw, fill=torch.zeros(1))


@pytest.mark.parametrize("name", MIXING)
def test_image_is_its_share_of_itself_and_the_rest_of_its_partner(name):
    batch = mixed(name)
    own, other = 3.0 * batch["label"], 3.0 * batch["label"][batch["partner"]]
    expected = batch["mix"] * own + (1 - batch["mix"]) * other
    assert (batch["image"].float().mean((1, 2, 3)) - expected).abs().max() <= 0.5
    assert 0 < batch["mix"].min() < batch["mix"].max() <= 1


@pytest.mark.parametrize("name", MIXING)
def test_labels_stay_and_neighbours_are_partners_of_one_another(name):
    batch = mixed(name, count=5)
    assert batch["label"].tolist() == batch["index"].tolist() == list(range(5))
    assert batch["partner"].tolist() == [1, 0, 3, 2, 4]


@pytest.mark.parametrize("name", MIXING)
def test_mixing_is_a_function_of_seed_epoch_and_the_samples_of_the_batch(name):
    first, again = mixed(name, epoch=3), mixed(name, epoch=3)
    assert all(torch.equal(first[key], again[key]) for key in first)
    for other in (mixed(name, epoch=4), mixed(name, epoch=3, seed=1)):
        assert not torch.equal(first["mix"], other["mix"])
        assert not torch.equal(first["image"], other["image"])


@pytest.mark.parametrize("name", MIXING)
def test_share_of_an_image_does_not_depend_on_its_batch(name):
    assert torch.equal(mixed(name)["mix"][:2], mixed(name, count=2)["mix"])


@pytest.mark.parametrize("name", MIXING)
def test_last_of_an_odd_batch_stays_as_it_is(name):
    assert torch.equal(mixed(name, count=5)["image"][4], sample(4)["image"])


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize(("count", "world_size"), [(16, 2), (13, 3), (10, 4), (3, 4)])
def test_processes_together_mix_what_one_mixes(name, count, world_size):
    whole = mixed(name, count=count)
    order, seen = Sequential(count, batch=count), []
    for rank in range(world_size):
        part = ByRank(order, rank=rank, world_size=world_size, unit=PAIR)
        (indices,), (first, own, total) = part.batches(0), part.part(0, 0)
        assert total == count
        assert own in (0, len(indices))
        batch = change(name)([sample(i) for i in indices], 0)
        for key in ("image", "mix", "label") if own else ():
            assert torch.equal(batch[key], whole[key][first : first + own])
        seen += indices[:own]
        assert len(indices) <= part.batch
    assert seen == list(range(count))


@pytest.mark.parametrize(("alpha", "spread"), [(0.2, 1 / 5.6), (1.0, 1 / 12), (8.0, 1 / 68)])
def test_shares_are_of_the_beta_distribution(alpha, spread):
    mix = finished("mixup", alpha=alpha)["mix"].double()
    assert float(mix.mean()) == pytest.approx(0.5, abs=4 * math.sqrt(spread / COUNT))
    assert float(mix.var()) == pytest.approx(spread, rel=0.08)


def test_beta_of_one_is_even_and_small_ones_are_finite():
    draws = Draws(0, 0, index=torch.arange(100_000))
    even = draws.beta(1.0)
    assert (torch.histc(even, 10, 0, 1) / 100_000 - 0.1).abs().max() < 0.004
    assert draws.beta(0.01).isfinite().all()


def test_cutmix_pastes_a_rectangle_of_the_image_s_aspect_where_its_partner_has_it():
    columns = torch.arange(3 * SIDE, dtype=torch.uint8).expand(3, SIDE, -1)
    items = [sample(i) | {"image": columns + 100 * (i == 1)} for i in (0, 1)]
    aspects = []
    for epoch in range(60):
        image = change("cutmix")(items, epoch)["image"][0, 0]
        pasted = image >= 100
        rows, shown = pasted.any(1).sum(), pasted.any(0).sum()
        assert pasted.sum() == rows * shown  # a rectangle
        assert torch.equal(image[pasted] - 100, columns[0][pasted])
        if rows and not (pasted[0] | pasted[-1]).any() and not (pasted[:, 0] | pasted[:, -1]).any():
            aspects.append(float(shown / rows))
    assert len(aspects) >= 3
    assert all(1.9 < aspect < 4.1 for aspect in aspects)  # 3, but for whole pixels


def test_cutmix_counts_what_it_really_keeps():
    batch = finished("cutmix")
    assert float(batch["mix"].mean()) > 0.55  # more than one half, since rectangles are cut at borders
    assert ((batch["mix"] * 1600 - (batch["mix"] * 1600).round()).abs() < 1e-3).all()  # whole pixels


def test_cutmix_cuts_some_images_only():
    mix = finished("cutmix", p=0.3)["mix"]
    assert float((mix < 1).double().mean()) == pytest.approx(0.3, abs=0.03)


def two_losses(logits: Tensor, batch: Batch) -> Tensor:
    """The mixed loss by the formula of the paper, image by image."""
    probability = logits.log_softmax(1)
    parts = []
    for i, (label, partner, mix) in enumerate(zip(batch["label"], batch["partner"], batch["mix"], strict=True)):
        parts.append(-mix * probability[i, label] - (1 - mix) * probability[i, batch["label"][partner]])
    return torch.stack(parts).sum()


def test_loss_is_that_of_both_labels_by_their_shares():
    batch = mixed("mixup", alpha=1.0)
    logits = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    term = Classification(DataInfo(classes=tuple("abcdefgh"))).loss(logits, batch)["cross_entropy"]
    assert float(term.sum) == pytest.approx(float(two_losses(logits, batch)), rel=1e-5)
    assert float(term.count) == 8


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "binary_cross_entropy"])
def test_loss_of_a_mixed_image_is_that_of_both_labels_by_their_shares(loss):
    task = Classification(DataInfo(classes=tuple("abc")), loss=loss)
    logits, label = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1])
    partner, mix = torch.tensor([1, 0, 3, 2]), torch.tensor([1.0, 0.3, 0.0, 0.5])
    (mixed,) = task.loss(logits, {"label": label, "partner": partner, "mix": mix}).values()
    alone = [
        [float(task._term(logits[i : i + 1], {"label": one[i : i + 1]}).sum) for i in range(4)]
        for one in (label, label[partner])
    ]
    assert float(mixed.sum) == pytest.approx(
        sum(m * a + (1 - m) * b for m, a, b in zip(mix.tolist(), *alone, strict=True)), rel=1e-5
    )
    assert float(mixed.count) == 4


@pytest.mark.parametrize("name", MIXING)
def test_other_tasks_refuse_mixing_by_name(name):
    with pytest.raises(RecipeError, match=rf"'{name}' mixes two images.*'segmentation'.*leave {name} out.*classificat"):
        load_recipe("scenes_unet", [f"data.augment=[{name}]"])
    load_recipe("mnist_convnet", [f"data.augment=[{name}]", "data.root=."])


@pytest.mark.parametrize("size", [1, 3, 4])
def test_first_of_a_mixed_batch_have_their_partners_among_them(size):
    first = head(mixed("mixup", count=8), size)
    assert first["partner"].tolist() == partners(size).tolist()
    assert len(first["label"][first["partner"]]) == size


def test_loader_of_a_process_keeps_pairs_together(monkeypatch):
    monkeypatch.setattr(loaders, "world_size", lambda: 2)
    monkeypatch.setattr(loaders, "rank", lambda: 1)
    for name, part in (("mixup", (4, 2, 6)), ("erasing", (3, 3, 6))):
        order = _shared_out(Sequential(6, batch=6), [AUGMENTATIONS[name]()])
        assert order.part(0, 0) == part


def test_two_kinds_of_mixing_are_refused_and_what_finishes_stands_last():
    with pytest.raises(RecipeError, match="mixup and cutmix, and a batch is mixed once"):
        mixed("cutmix", before=(AUGMENTATIONS["mixup"](),))
    with pytest.raises(RecipeError, match=r"has mixup before another step.*put it last"):
        mixed("flip", before=(AUGMENTATIONS["mixup"](),))


def test_clean_images_refuse_what_changes_images_alone(monkeypatch):
    recipe = load_recipe("scenes_unet", {"data.count": 4})
    data = read_data(recipe)
    monkeypatch.setattr(data.train.samples, "gives", ("image", "clean"))
    changed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"augment": ({"cutmix": {}},)})})
    with pytest.raises(RecipeError, match=r"has cutmix, which changes images alone.*leave cutmix out"):
        make_train_loader(changed, data)


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize(
    ("batch", "order", "says"),
    [
        (1, {"shuffled": {}}, "and a batch has one image: none is mixed; set train.batch"),
        (4, {"p_times_k": {"per_class": 2}}, "puts images of one class side by side, so that no labels are mixed"),
        (4, {"p_times_k": {"per_class": 1}}, None),
        (2, {"shuffled": {}}, None),
    ],
)
def test_mixing_of_an_image_with_none_or_with_its_class_is_refused(name, batch, order, says):
    steps, whole = [AUGMENTATIONS[name]()], Sequential(8, batch=batch)
    with nullcontext() if says is None else pytest.raises(RecipeError, match=f"has {name}, .*{says}"):
        _require_others(steps, whole, named=order)
    _require_others([AUGMENTATIONS["erasing"]()], whole, named=order)


@pytest.mark.parametrize("name", MIXING)
def test_mixing_of_padded_images_is_refused(name):
    padding = Preprocessing(shorter=64, longest=128, multiple=32)
    for size_hw in (None, (40, 64)):
        with pytest.raises(RecipeError, match=f"has {name}, which mixes whole images, and data.shorter pads"):
            _require_unpadded([AUGMENTATIONS[name]()], padding, size_hw=size_hw)
    _require_unpadded([AUGMENTATIONS[name]()], padding, size_hw=(32, 64))
    _require_unpadded([AUGMENTATIONS["erasing"]()], padding, size_hw=None)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"train.batch": 1}, "a batch has one image: none is mixed"),
        ({"data.size": None, "data.shorter": 32, "data.longest": 64}, r"data\.shorter pads the smaller images"),
    ],
)
def test_loader_refuses_what_mixing_would_do_in_vain(more, says):
    recipe = load_recipe("scenes_unet", {"data.count": 4, **more})
    changed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"augment": ({"mixup": {}},)})})
    with pytest.raises(RecipeError, match=says):
        make_train_loader(changed, read_data(recipe))


def test_mixed_images_are_normalised_by_what_shows_of_both():
    fit = Preprocessing(size_hw=(64, 64), rule="fit", normalization="image")
    mix = Augment([AUGMENTATIONS["mixup"]()], size_hw=(64, 64), preprocessing=fit, info=DataInfo(), seed=0)
    wide, high = sample(0, 32, 64), sample(1, 64, 32)
    assert mix([wide, high], 0)["shown_xyxy"].tolist() == [[0, 0, 64, 64]] * 2
    assert mix([wide, sample(1, 32, 64)], 0)["shown_xyxy"].tolist() == [[0, 16, 64, 48]] * 2
