"""Stereo and flow: what is learned from, what is answered, and that both learn."""

import pytest
import torch

from unpool import models, tasks
from unpool.data.augment import Collate
from unpool.data.pair_scenes import FlowScenes, StereoScenes
from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.predictor import Predictor
from unpool.task import TrainingSetup
from unpool.tasks.pair_targets import in_words
from unpool.training.step import total_loss
from unpool.types import DataInfo, Decoding

GREY = Preprocessing(channels=2, mean=(0.5, 0.5), std=(0.25, 0.25))
COLOUR = Preprocessing(channels=6, mean=6 * (0.5,), std=6 * (0.25,))
NETWORKS = {"hinge": "mc_cnn_fast", "binary": "mc_cnn_accurate", "cross_entropy": "mc_cnn_wide"}


def batch_of(kind, preprocessing, count=2, side=32):
    reader = kind(None, "val", decoding=Decoding(channels=preprocessing.channels), side=side, most=8.0)
    samples = [{**reader[i], "index": torch.tensor(i), "size_hw": torch.tensor([side, side])} for i in range(count)]
    batch = Collate(preprocessing)(samples, 0)
    return batch | {"image": preprocessing.normalize(batch["image"])}


def stereo(loss="hinge", **options):
    torch.manual_seed(0)
    hidden = {"hidden": 8} if loss == "binary" else {}
    network = models.build(NETWORKS[loss], width=8, in_channels=2, num_classes=10, **hidden)
    options = {"disparities": 10, "loss": loss, **options}
    return tasks.build("stereo", DataInfo(), options=options, preprocessing=GREY), network


@pytest.mark.parametrize("loss", NETWORKS)
def test_hidden_pixels_and_unknown_ones_are_not_learned_from(loss):
    task, network = stereo(loss)
    batch = batch_of(StereoScenes, GREY)
    exact = total_loss(task.losses(network.eval(), batch))
    changed = {**batch, "disparity": torch.where(batch["hidden"], 3.0, batch["disparity"])}
    torch.testing.assert_close(total_loss(task.losses(network, changed)), exact)
    unknown = {**batch, "disparity": batch["disparity"].masked_fill(batch["hidden"], torch.nan)}
    torch.testing.assert_close(total_loss(task.losses(network, unknown)), exact)
    del unknown["hidden"]
    torch.testing.assert_close(total_loss(task.losses(network, unknown)), exact)
    seen = {**batch, "disparity": torch.where(batch["hidden"], batch["disparity"], 3.0)}
    assert not torch.isclose(total_loss(task.losses(network, seen)), exact)


def test_disparity_that_is_drawn_as_right_and_as_wrong_is_not_learned_from():
    """Both are rounded: 1 pixel off may be right here, and 1.2 wrong."""
    task, _ = stereo(positive=1.0, negative=(1.2, 1.4))
    batch = batch_of(StereoScenes, GREY)
    del batch["hidden"]
    batch["disparity"] = torch.full((2, 32, 32), torch.nan)
    batch["disparity"][..., 16:] = 5.0
    seen = []
    term = task._compared(lambda disparity: seen.append(disparity) or torch.zeros(disparity.shape), batch, 0)["hinge"]
    right, wrong = (disparity[..., 16:] for disparity in seen)
    assert bool((right == wrong).any())
    assert float(term.count) == int((right != wrong).sum())


@pytest.mark.parametrize("loss", ["hinge", "binary"])
def test_two_scores_a_pixel_cost_what_all_of_them_do(loss):
    """Training compares features at two disparities; evaluation takes the same two out of all scores."""
    task, network = stereo(loss)
    batch = batch_of(StereoScenes, GREY)
    torch.manual_seed(5)
    sampled = task.losses(network.train(), batch)[loss]
    torch.manual_seed(5)
    base = int(torch.randint(2**31, ()))
    whole = task._loss(network(batch["image"]), batch, base)[loss]
    torch.testing.assert_close(sampled.sum, whole.sum, rtol=1e-4, atol=1e-4)
    assert sampled.count == whole.count > 500


def test_parts_of_a_batch_draw_what_the_whole_batch_draws():
    task, network = stereo()
    batch = batch_of(StereoScenes, GREY, count=3)
    parts = [{key: value[i] for key, value in batch.items()} for i in (slice(0, 2), slice(2, 3))]
    sums = []
    for one in (batch, *parts):
        torch.manual_seed(3)
        sums.append(task.losses(network.train(), one)["hinge"])
    whole, *each = sums
    torch.testing.assert_close(whole.sum, each[0].sum + each[1].sum)
    assert whole.count == each[0].count + each[1].count


def test_answer_of_scores_is_that_of_what_tiles_are_joined_of():
    task, network = stereo()
    batch = batch_of(StereoScenes, GREY)
    with torch.inference_mode():
        direct = task.eval().answer(network.eval(), batch)
        joined = task.decode(task.output_of_part(network, batch), {"image": batch["image"]})
    assert all(direct[key].equal(joined[key]) for key in ("disparity", "checked"))
    assert direct["disparity"].shape == (2, 32, 32)


@pytest.fixture(scope="module")
def far_wall():
    """A task, a network and a pair (2, 4, 1792) of a wall that lies 250 pixels off, and of which a part shows 1024."""
    torch.manual_seed(0)
    network = models.build("mc_cnn_fast_kitti", width=8, in_channels=2, num_classes=260).eval()
    task = tasks.build("stereo", DataInfo(), options={"disparities": 260}, preprocessing=GREY)
    wall = torch.randint(0, 256, (1, 4, 1792 + 250), dtype=torch.uint8)
    return task, network, torch.cat([wall[..., :1792], wall[..., 250:]])


def is_right(disparity):
    return bool(((disparity - 250).abs() < 1)[..., 250:].float().mean() > 0.98)


def test_parts_of_a_large_pair_show_the_partner_of_each_pixel(far_wall, monkeypatch):
    monkeypatch.setattr("unpool.tasks.stereo.NUMBERS", 260 * 4000)
    task, network, image = far_wall
    inputs, widths = {"image": GREY.normalize(image[None])}, []
    with torch.inference_mode(), network.register_forward_hook(lambda *given: widths.append(given[1][0].shape[-1])):
        assert is_right(task.answer(network, inputs)["disparity"])
        assert is_right(task.decode(task.output_of_part(network, inputs), inputs)["disparity"])
    assert set(widths) == {1024}


def test_parts_that_predict_makes_show_the_partner_of_each_pixel(far_wall):
    task, network, image = far_wall
    assert is_right(Predictor(network, GREY, DataInfo(), task, limit=4000).predict(image)["disparity"])


def test_large_pair_is_worked_on_in_parts_of_few_rows(monkeypatch):
    task, network = stereo()
    inputs = {"image": torch.rand(1, 2, 300, 40)}
    with torch.inference_mode():
        whole = task.answer(network.eval(), inputs)["disparity"]
        monkeypatch.setattr("unpool.tasks.stereo.NUMBERS", 10 * 300)
        heights = []
        with network.register_forward_hook(lambda *given: heights.append(given[1][0].shape[-2])):
            parts = task.answer(network, inputs)["disparity"]
    assert len(heights) > 1
    assert max(heights) < 300
    assert (parts - whole).abs().max() < 1e-4


def test_parts_of_a_large_image_share_what_a_pyramid_sees(monkeypatch):
    monkeypatch.setattr("unpool.tasks.flow.LIMIT", 16000)
    torch.manual_seed(0)
    network = models.build("flow_pyramid", width=4).eval()
    task = tasks.build("flow", DataInfo(), options={}, preprocessing=COLOUR)
    image = torch.rand(1, 6, 16, 1536)
    with torch.inference_mode():
        parts, whole = task.answer(network, {"image": image})["flow"], network(image).logits
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-4)


def warnings_of(pairs, disparities):
    setup = TrainingSetup(("image", "disparity"), (), (), None, keeps_scale=True, sizes_hw=(), sets=(pairs, pairs))
    return stereo(disparities=disparities)[0].warnings(setup)


def test_disparities_beyond_those_told_apart_are_warned_of():
    assert warnings_of(StereoScenes(count=20, most=16.0), 26) == []
    (warning,) = warnings_of(StereoScenes(count=20, most=64.0), 26)
    assert "task.disparities 26 ends at 25: larger ones are neither learned nor answered; set" in warning


def test_pairs_that_cannot_be_read_say_nothing_of_their_disparities():
    class Damaged(StereoScenes):
        def __getitem__(self, index):
            if index == 0:
                raise DataError("a.pfm is cut off")
            return super().__getitem__(index)

    assert warnings_of(Damaged(count=1), 26) == []
    assert len(warnings_of(Damaged(count=3), 4)) == 1


def test_wrong_disparity_is_further_off_than_the_right_one_may_be():
    with pytest.raises(RecipeError, match=r"task\.positive is 2 and task\.negative starts at 1\.5"):
        stereo(positive=2.0)


def test_answer_that_is_no_number_is_bad_in_words():
    truth = torch.tensor([[1.0, 1.0, torch.nan]])
    assert in_words(torch.tensor([[torch.nan, 1.0, 1.0]]), truth, None) == "all: 50.0% bad, nan pixels off"


@pytest.mark.parametrize("task_name", ["stereo", "flow"])
def test_few_steps_halve_the_error_on_a_pair(task_name):
    torch.manual_seed(0)
    if task_name == "stereo":
        task, network = stereo("cross_entropy")
        batch, most = batch_of(StereoScenes, GREY, count=1), 0.7
    else:
        network = models.build("flow_pyramid", width=8)
        task = tasks.build("flow", DataInfo(), options={}, preprocessing=COLOUR)
        batch, most = batch_of(FlowScenes, COLOUR, count=1), 0.5
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(25):
        terms = task.losses(network.train(), batch)
        total_loss(terms).backward()
        optimizer.step()
        optimizer.zero_grad()
        name = next(iter(terms))
        losses.append(float(terms[name].sum.detach() / terms[name].count))
    assert losses[-1] < most * losses[0]


def test_flow_of_unknown_pixels_costs_nothing_and_every_level_counts():
    network = models.build("flow_pyramid", width=8).train()
    task = tasks.build("flow", DataInfo(), options={"auxiliary_weight": 0.5}, preprocessing=COLOUR)
    batch = batch_of(FlowScenes, COLOUR)
    terms = task.losses(network, batch)
    assert [term.weight for term in terms.values()] == [1.0, *4 * [0.5]]
    known = batch["flow"].clone()
    known[:, 1, :8] = torch.nan
    some = task.losses(network, {**batch, "flow": known})["epe"]
    assert some.count == 2 * 24 * 32
    assert terms["epe"].count == 2 * 32 * 32
    other = torch.where(known.isnan().any(1, keepdim=True), torch.nan, batch["flow"])
    torch.testing.assert_close(task.losses(network, {**batch, "flow": other})["epe"].sum, some.sum)


@pytest.mark.parametrize(
    ("name", "preprocessing", "says"),
    [
        ("stereo", Preprocessing(channels=6, size_hw=(32, 32), mean=6 * (0.5,), std=6 * (0.5,)), r"data\.size is \[32"),
        ("flow", Preprocessing(shorter=32, longest=64), r"data\.shorter is 32"),
        ("flow", Preprocessing(), r"data\.channels is 3; flow sees pairs of images"),
    ],
)
def test_images_that_are_resized_or_no_pairs_are_refused(name, preprocessing, says):
    with pytest.raises(RecipeError, match=says):
        tasks.build(name, DataInfo(), options={}, preprocessing=preprocessing)


def test_network_of_another_number_of_scores_is_refused():
    task, network = stereo(disparities=12)
    with pytest.raises(RecipeError, match=r"the network gives \(2, 10, 32, 32\); stereo needs \(B, 12, H, W\)"):
        task.losses(network.eval(), batch_of(StereoScenes, GREY))


@pytest.mark.parametrize(("name", "key"), [("stereo", "disparity"), ("flow", "flow")])
def test_pictures_show_image_truth_answer_and_error(name, key, tmp_path):
    task = tasks.build(name, DataInfo(), options={}, preprocessing=COLOUR)
    sample = (StereoScenes if name == "stereo" else FlowScenes)(None, "val", side=32)[0]
    record = {key: sample[key] + 1.5, "checked": torch.ones(32, 32, dtype=torch.bool)}
    shown = task.exhibit(sample["image"][:3], sample, record)
    assert [picture.shape for _, picture in shown.pictures] == 4 * [(3, 32, 32)]
    assert "all: 0.0% bad, " in shown.caption
    assert "; visible: 0.0% bad" in shown.caption
    assert task.draw(sample["image"][:1], record).shape == (3, 32, 64)
    written = task.write(record, tmp_path / "x")
    assert (tmp_path / written[key]).stat().st_size > 4 * 32 * 32
    assert written[key] in task.brief(written)


@pytest.mark.parametrize("loss", NETWORKS)
def test_loss_is_least_where_the_true_disparity_scores_highest(loss):
    task, _ = stereo(loss)
    batch = batch_of(StereoScenes, GREY)
    truth, every = batch["disparity"][:, None], torch.arange(10.0).view(1, 10, 1, 1)
    likely = -(every - truth).abs() / 4
    right, wrong = (total_loss(task.loss(scores, batch)) for scores in (likely, -likely))
    assert right < 0.75 * wrong
