"""Regions that an image is given with: where they are from, how they move with it, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from unpool import load_recipe, same_set
from unpool.assemble import proposals as of_sets
from unpool.assemble.data import read_data
from unpool.assemble.settling import settled
from unpool.data.augment.targets import warp_targets
from unpool.data.proposals import PROPOSERS, make_proposer
from unpool.data.proposals import selective_search as module
from unpool.data.proposals.selective_search import in_order
from unpool.errors import DataError, EnvironmentFault, RecipeError
from unpool.ops import geometry
from unpool.ops.boxes import iou
from unpool.types import Decoding

IMAGE = torch.zeros(3, 60, 100, dtype=torch.uint8)
FILES = {"files": {}}


def has_contributed_modules():
    try:
        make_proposer({"selective_search": {}})
    except EnvironmentFault:
        return False
    return True


searches = pytest.mark.skipif(not has_contributed_modules(), reason="OpenCV has no contributed modules here")


@pytest.mark.parametrize("size_hw", [(60, 100), (100, 60), (10, 12), (200, 40)])
def test_grid_lies_within_the_image_and_covers_it_from_border_to_border(size_hw):
    boxes = make_proposer({"grid": {"sides": [20, 30, 50, 10], "step": 0.25}}).propose(torch.zeros(3, *size_hw), "")
    height, width = size_hw
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor([width, height])).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.amin(0)[:2].tolist() == [0, 0]
    assert boxes.amax(0)[2:].tolist() == [width, height]


def test_neighbours_of_a_grid_are_no_farther_apart_than_its_step():
    boxes = make_proposer({"grid": {"sides": [20, 30], "step": 0.3}}).propose(torch.zeros(3, 97, 131), "")
    for axis, side in ((0, 20), (1, 30)):
        starts = boxes[:, axis].unique()
        assert (starts.diff() <= 0.3 * side + 1e-4).all()


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("grid", {"sides": [20]}, "grid.sides is .20.; expected a width and a height"),
        ("grid", {"sides": [20, 0]}, "expected a width and a height for each shape"),
        ("grid", {"sides": "large"}, "grid.sides is 'large'; expected planned"),
        ("grid", {"sides": [8, 8], "step": 0}, "grid.step is 0"),
        ("selective_search", {"mode": "slow"}, "selective_search.mode is 'slow'; it must be fast or quality"),
        ("selective_search", {"most": 0}, "selective_search.most is 0"),
        ("files", {"folder": ""}, "files.folder is ''"),
    ],
)
def test_option_that_a_source_does_not_take_is_refused(name, options, text):
    with pytest.raises(RecipeError, match=text):
        PROPOSERS[name](**options)


def test_planned_grid_without_a_training_set_asks_for_numbers():
    with pytest.raises(RecipeError, match="planned, by the boxes of a training set; here set it to numbers"):
        make_proposer({"grid": {"sides": "planned"}}).propose(IMAGE, "")


def test_without_the_package_the_message_says_what_to_install_and_what_else_there_is(monkeypatch):
    monkeypatch.setattr(module, "import_module", lambda name: object())
    with pytest.raises(EnvironmentFault, match=r"pip install 'unpool\[proposals\]'.*data.proposals to grid or files"):
        make_proposer({"selective_search": {}})


def scene():
    """Two plain things on a plain ground."""
    image = torch.full((3, 120, 160), 200, dtype=torch.uint8)
    things = torch.tensor([[20.0, 30.0, 60.0, 90.0], [90.0, 40.0, 140.0, 80.0]])
    for (left, top, right, bottom), colour in zip(things.int().tolist(), ((220, 40, 40), (30, 60, 200)), strict=True):
        image[:, top:bottom, left:right] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return image, things


@searches
def test_selective_search_finds_plain_things_and_gives_the_same_boxes_each_time():
    image, things = scene()
    proposer = make_proposer({"selective_search": {"width": 160}})
    boxes = proposer.propose(image, "")
    assert (iou(things, boxes).amax(1) > 0.9).all()
    assert torch.equal(boxes, proposer.propose(image, "other name"))
    assert boxes.dtype == torch.float32
    assert (boxes[:, 2:] <= torch.tensor([160, 120])).all()


@searches
@pytest.mark.parametrize("width", [80, 240])
def test_boxes_of_an_image_that_was_brought_to_a_width_are_in_its_own_pixels(width):
    image, things = scene()
    assert (iou(things, make_proposer({"selective_search": {"width": width}}).propose(image, "")).amax(1) > 0.8).all()


@searches
@pytest.mark.parametrize("size_hw", [(1, 1), (900, 4), (4, 900)])
def test_selective_search_takes_images_of_any_shape(size_hw):
    boxes = make_proposer({"selective_search": {"width": 64}}).propose(torch.zeros(1, *size_hw).byte(), "")
    assert boxes.shape[1] == 4


@searches
def test_most_boxes_are_the_first_ones_and_short_ones_are_left_out():
    image, _ = scene()
    every = make_proposer({"selective_search": {"width": 160, "least_side": 30}}).propose(image, "")
    few = make_proposer({"selective_search": {"width": 160, "least_side": 30, "most": 2}}).propose(image, "")
    assert torch.equal(few, every[:2])
    assert (every[:, 2:] - every[:, :2]).min() >= 30


@searches
def test_selective_search_refuses_bands():
    with pytest.raises(RecipeError, match="the image has 4 channels"):
        make_proposer({"selective_search": {}}).propose(torch.zeros(4, 20, 20).byte(), "")


def test_order_prefers_large_boxes_and_not_always():
    sides = torch.arange(1.0, 201)
    boxes = torch.stack([torch.zeros(200), torch.zeros(200), sides, sides], dim=1)
    order = in_order(boxes)
    assert sorted(order.tolist()) == list(range(200))
    places = order.argsort().float()
    assert places[100:].mean() < places[:100].mean() - 20  # large ones are earlier
    assert order.tolist() != list(range(199, -1, -1))


def write(tmp_path, text, name="a.jpg"):
    path = tmp_path / "proposals" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return make_proposer(FILES, tmp_path)


def test_file_gives_its_boxes_by_score_cut_at_the_image(tmp_path):
    text = "left,top,right,bottom,score\n0,0,10,10,0.25\n\n90.5,50,100.5,60,0.75\n-0.5,1,4,5,0.5\n"
    boxes = write(tmp_path, text).propose(IMAGE, "a.jpg")
    assert boxes.tolist() == [[90.5, 50, 100, 60], [0, 1, 4, 5], [0, 0, 10, 10]]


def test_file_without_scores_keeps_its_order_and_one_of_no_box_has_none(tmp_path):
    assert write(tmp_path, "left,top,right,bottom\n5,5,9,9\n0,0,4,4\n").propose(IMAGE, "a.jpg")[0].tolist() == [
        5,
        5,
        9,
        9,
    ]
    assert write(tmp_path, "left,top,right,bottom\n", "b/c.png").propose(IMAGE, "b/c.png").shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with ''; expected the columns left,top,right,bottom"),
        ("x,y,w,h\n1,2,3,4\n", "begins with 'x,y,w,h'"),
        ("left,top,right,bottom\n1,2,3\n", "line 2 is '1,2,3'; expected 4 finite numbers"),
        ("left,top,right,bottom\n1,2,nan,4\n", "line 2 is"),
        ("left,top,right,bottom\n1,2,3,4\n5,5,5,9\n", r"box 2 is \[5.0, 5.0, 5.0, 9.0\], and the image is 100x60"),
        ("left,top,right,bottom\n1,2,103,4\n", "box 1 is"),
        ("left,top,right,bottom\n-3,2,10,4\n", "box 1 is"),
    ],
)
def test_file_that_cannot_be_used_is_refused_by_name(tmp_path, text, told):
    with pytest.raises(DataError, match=told) as error:
        write(tmp_path, text).propose(IMAGE, "a.jpg")
    assert "a.jpg.csv" in str(error.value)


def test_missing_file_and_an_image_of_no_set_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"b.jpg has no file of proposals: .*b.jpg.csv is missing"):
        write(tmp_path, "").propose(IMAGE, "b.jpg")
    with pytest.raises(DataError, match="this image is of no set"):
        make_proposer(FILES).propose(IMAGE, "")


def test_all_images_without_a_usable_file_are_named_at_once(tmp_path):
    write(tmp_path, "left,top,right,bottom\n", "0")
    write(tmp_path, "x\n", "1")
    names = [str(number) for number in range(8)]
    samples = type("Eight", (), {"names": names, "__len__": lambda _: 8, "__getitem__": lambda *_: {"image": IMAGE}})()
    with pytest.raises(
        DataError, match=r"1.csv begins with 'x'.*; 2 has no file.*; 5 has no file.*; and 2 more images"
    ):
        of_sets._proposed(make_proposer(FILES, tmp_path), samples, 2, None)


def test_proposals_move_with_the_image_and_are_cut_at_the_window():
    sample = {"image": IMAGE, "proposals": torch.tensor([[0.0, 0, 20, 20], [50, 10, 90, 50]])}
    shift = geometry.translation(torch.tensor([10.0]), torch.tensor([0.0]))[0]
    moved = warp_targets(sample, shift, (60, 60))["proposals"]
    assert moved.tolist() == [[0, 0, 10, 20], [40, 10, 60, 50]]
    beside = geometry.translation(torch.tensor([30.0]), torch.tensor([0.0]))[0]
    assert warp_targets(sample, beside, (60, 60))["proposals"].tolist() == [[20, 10, 60, 50]]


SMALL = {"data.count": 3, "data.proposals": {"grid": {"sides": "planned"}}}


def test_set_has_proposals_beside_each_sample_and_the_run_their_numbers(caplog):
    caplog.set_level("INFO")
    recipe = load_recipe("scenes_fastrcnn", SMALL)
    data = read_data(recipe)
    sides = data.preprocessing.proposals["grid"]["sides"]
    assert len(sides) % 2 == 0
    assert all(isinstance(side, int) for side in sides)
    for part in (data.train, data.val):
        assert "proposals" in part.samples.gives
        assert part.samples[0]["proposals"].shape[1] == 4
    assert "regions an image, which reach" in caplog.text
    assert settled(recipe, data).data.proposals == data.preprocessing.proposals


def test_boxes_that_few_proposals_reach_are_a_warning(caplog):
    read_data(load_recipe("scenes_fastrcnn", {**SMALL, "data.proposals": {"grid": {"sides": [6, 90]}}}))
    (record,) = [one for one in caplog.records if "reach" in one.message][:1]
    assert record.levelname == "WARNING"
    assert "no detector of given regions finds the others" in record.message


def test_kept_proposals_are_read_again_and_those_of_other_options_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(PROPOSERS["grid"], "is_kept", True)
    scanned = read_data(load_recipe("scenes_ssd", {"data.count": 2})).train
    scanned = scanned._replace(manifest={**scanned.manifest, "checksums": ["a", "b"]})
    monkeypatch.setattr(of_sets, "DecodingReader", SimpleNamespace)
    upright, as_stored = (SimpleNamespace(decoding=Decoding(exif=exif)) for exif in ("apply", "ignore"))
    first, other = {"grid": {"sides": [30, 30]}}, {"grid": {"sides": [40, 40]}}

    def read(settings, reader=upright):
        return of_sets.with_proposals(scanned, settings, reader, root=None).samples[1]["proposals"]

    once = read(first)
    monkeypatch.setattr(of_sets, "_proposed", lambda *_: [torch.zeros(1, 4)] * 2)
    assert torch.equal(read(first), once)
    assert len(read(other)) == 1
    assert len(read(first, as_stored)) == 1
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert len(read(first)) == 1


def test_images_that_are_drawn_anew_each_time_are_refused(monkeypatch):
    monkeypatch.setattr(of_sets, "is_random", lambda reader: True)
    with pytest.raises(RecipeError, match="draws its images anew each time"):
        read_data(load_recipe("scenes_fastrcnn", {"data.count": 2}))


def test_resumed_run_refuses_other_proposals_and_names_their_images():
    scanned = read_data(load_recipe("scenes_fastrcnn", {"data.count": 3})).train
    before = scanned.record()
    assert same_set._differences(before, scanned, ()) == []
    first, second, third = before["proposals"]
    other = {**before, "proposals": [first, second[::-1] + "0", third]}
    assert same_set._differences(other, scanned, ()) == [f"has other proposals for {scanned.samples.names[1]}"]


def test_share_of_boxes_that_are_reached_is_of_each_image_by_its_own_proposals(caplog):
    caplog.set_level("INFO")
    box = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    each = [{"boxes": one, "labels": torch.zeros(len(one)).long()} for one in (box, box[:0], box + 20, box)]
    members = {"sizes_hw": [(64, 64)] * 4, "targets": lambda self, index: each[index], "__len__": lambda self: 4}
    samples = type("Four", (), members)()
    of_sets._report(samples, [box, box, box, box[:0]], "files")
    assert "reach 33.3 % of 3 boxes" in caplog.text


@pytest.mark.parametrize(
    ("recipe", "changes", "text"),
    [
        (
            "scenes_fastrcnn",
            {"data.proposals": None},
            "'fastrcnn' classifies regions that are given .*set data.proposals",
        ),
        ("scenes_ssd", {"data.proposals": {"grid": {"sides": [8, 8]}}}, "'ssd' reads no proposals: leave"),
        ("scenes_fastrcnn", {"data.proposals": "edge_boxes"}, "no source of proposals is called 'edge_boxes'"),
        ("scenes_fastrcnn", {"data.proposals": {"grid": {"sides": [8]}}}, "sides"),
        ("scenes_fastrcnn", {"data.noise": "gaussian"}, "regions are proposed for images without noise"),
    ],
)
def test_recipe_whose_proposals_and_network_do_not_fit_is_refused(recipe, changes, text):
    with pytest.raises(RecipeError, match=text):
        load_recipe(recipe, changes)
