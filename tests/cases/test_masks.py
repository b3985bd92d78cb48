"""Masks a user meets, a test for each kind, in a set that is held in memory and in one that is streamed."""

import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.encoding import encoded, picture
from tests.data.mask_files import grey_png, grey_tiff, palette_png, rgb_png
from tests.data.test_augment import OPTIONS
from unpool.assemble.data import read_data
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.model import make_task
from unpool.data.augment import AUGMENTATIONS, Augment, Geometry
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.store import ScanResult, scan
from unpool.errors import DataError
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe
from unpool.training.gradients import compute_gradients
from unpool.training.step import Step
from unpool.types import IGNORE, DataInfo

WAYS = pytest.mark.parametrize("memory", [True, False], ids=["held", "streamed"])
IDS = (np.indices((20, 30)).sum(0) // 6 % 2).astype(np.uint8)
COLOURS = ((0, 0, 255), (128, 64, 128))
COLOURED = "sky 0 0 255\nroad 128 64 128\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def masks(root: Path, mask: bytes, *, name: str = "0.png", classes: str = "sky\nroad\n") -> Path:
    """Three images with masks, the first of which is `mask`; the others are sound."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text(classes)
    sound = rgb_png(np.array(COLOURS)[IDS]) if classes == COLOURED else grey_png(IDS)
    for number in range(3):
        (root / "images" / f"{number}.png").write_bytes(encoded(picture(seed=number), "PNG"))
        (root / "masks" / f"{number}.png").write_bytes(sound)
    (root / "masks" / "0.png").unlink()
    (root / "masks" / name).write_bytes(mask)
    return root


def scanned(root: Path, *, memory: bool, **options) -> ScanResult:
    return scan(FolderMasks(root, "val", val_share=1.0, **options), memory=memory)


def mask_of(result: ScanResult, position: int = 0) -> list:
    return result.samples[position]["mask"].tolist()


@WAYS
def test_id_that_is_no_class_is_refused_with_file_ids_and_options(tmp_path, memory):
    spoiled = IDS.copy()
    spoiled[0, 0] = 255
    with pytest.raises(DataError) as error:
        scanned(masks(tmp_path, grey_png(spoiled)), memory=memory)
    assert "masks/0.png: mask has ids {0, 1, 255} and the set 2 classes" in str(error.value)
    assert "set data.ignore=255 if 255 is unlabelled, or remap" in str(error.value)


@WAYS
def test_mask_of_black_and_white_is_refused_with_the_mapping(tmp_path, memory):
    root = masks(tmp_path, grey_png(IDS * 255))
    with pytest.raises(DataError, match=r"set data\.mask_values=\{0: 0, 255: 1\}"):
        scanned(root, memory=memory)
    for number in range(3):
        (root / "masks" / f"{number}.png").write_bytes(grey_png(IDS * 255))
    assert mask_of(scanned(root, memory=memory, mask_values={0: 0, 255: 1})) == IDS.tolist()


@WAYS
def test_indices_of_a_palette_are_the_ids(tmp_path, memory):
    root = masks(tmp_path, b"")
    for number in range(3):
        (root / "masks" / f"{number}.png").write_bytes(palette_png(IDS, ((200, 10, 10), (5, 5, 5))))
    assert mask_of(scanned(root, memory=memory)) == IDS.tolist()


@WAYS
def test_colours_smeared_by_jpeg_are_refused_with_their_number(tmp_path, memory):
    smeared = cv2.imencode(".jpg", np.array(COLOURS, np.uint8)[IDS][..., ::-1])[1].tobytes()
    with pytest.raises(DataError, match=r"masks/0\.jpg: \d+ unknown colours: mask is lossy JPEG; re-export as PNG"):
        scanned(masks(tmp_path, smeared, name="0.jpg", classes=COLOURED), memory=memory)


@WAYS
def test_smooth_edges_and_alpha_are_refused_with_their_colours(tmp_path, memory):
    values = np.array(COLOURS, np.uint8)[IDS]
    smooth = values.copy()
    smooth[3, 3] = (64, 32, 190)
    with pytest.raises(DataError, match=r"masks/0\.png: 1 unknown colours in the mask: \(64, 32, 190\)"):
        scanned(masks(tmp_path / "smooth", rgb_png(smooth), classes=COLOURED), memory=memory)
    alpha = np.full((*IDS.shape, 1), 255, np.uint8)
    alpha[0, 0] = 9
    clear = cv2.imencode(".png", np.dstack([values[..., ::-1], alpha]))[1].tobytes()
    with pytest.raises(DataError, match=r"masks/0\.png: .*colours with alpha: .*, 9\)"):
        scanned(masks(tmp_path / "alpha", clear, classes=COLOURED), memory=memory)


@WAYS
@pytest.mark.parametrize("write", [grey_png, grey_tiff], ids=["png", "tiff"])
def test_ids_of_16_bits_are_not_clipped(tmp_path, memory, write):
    deep = np.where(IDS == 1, 26001, 255).astype(np.uint16)
    deep[0, 0] = 7
    root = masks(tmp_path, b"")
    for number in range(3):
        (root / "masks" / f"{number}.png").write_bytes(write(deep))
    expected = IDS.copy()
    expected[0, 0] = IGNORE
    assert mask_of(scanned(root, memory=memory, mask_values={7: 255, 255: 0, 26001: 1})) == expected.tolist()


@WAYS
def test_mask_of_another_size_is_refused_with_both_sizes(tmp_path, memory):
    with pytest.raises(DataError, match=r"masks/0\.png: mask is 20x30, its image images/0\.png decodes to 30x20"):
        scanned(masks(tmp_path, grey_png(np.ascontiguousarray(IDS.T))), memory=memory)


@WAYS
def test_mask_without_image_and_image_without_mask_are_left_out_and_listed(tmp_path, memory):
    root = masks(tmp_path, grey_png(IDS), name="lost.png")
    for folder, form in (("images", "NFC"), ("masks", "NFD")):
        name = unicodedata.normalize(form, "Käfer")
        (root / folder / "1.png").rename(root / folder / f"{name}.png")
    result = scanned(root, memory=memory)
    assert len(result.samples) == 2
    assert [Path(fault.path).name for fault in result.faults] == ["0.png", "lost.png"]
    assert "no mask of that name" in result.faults[0].reason
    assert "mask without an image of that name" in result.faults[1].reason
    assert len(result.manifest["skipped"]) == 2


@WAYS
def test_two_candidates_for_one_mask_are_refused(tmp_path, memory):
    root = masks(tmp_path, grey_png(IDS))
    (root / "masks" / "0_mask.png").write_bytes(grey_png(IDS))
    with pytest.raises(DataError, match=r"images/0\.png: ambiguous pairing, its mask could be 0\.png and 0_mask\.png"):
        scanned(root, memory=memory)


@WAYS
@pytest.mark.parametrize("weights", ["null", "median", "[1, 2]"])
def test_batch_without_a_labelled_pixel_has_loss_0_and_gradient_0(tmp_path, memory, weights):
    """The sample counts as one; the batch beside it has a loss."""
    root = masks(tmp_path, grey_png(np.full_like(IDS, 9)))
    overrides = [f"data.root={root}", f"data.memory={str(memory).lower()}", "data.ignore=9", "data.workers=0"]
    overrides += ["data.val_share=0.34", "data.size=[16, 16]", "train.batch=1", f"task.class_weights={weights}"]
    recipe = load_recipe("folder_unet", overrides)
    data = read_data(recipe)
    assert "images/0.png" in data.train.samples.names
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    step = Step(network, make_task(recipe, data), precision="float32", device=torch.device("cpu"))
    losses = {}
    for batch in make_train_loader(recipe, data).stream(0, 0, 1):
        network.zero_grad()
        prepared = {**batch, "image": batch["image"].float() / 255}
        gradients = compute_gradients(step, [prepared], torch.amp.GradScaler("cpu", enabled=False))
        is_labelled = bool((batch["mask"] != IGNORE).any())
        losses[is_labelled] = float(gradients.loss)
        assert bool(network.weight.grad.isfinite().all())
        assert bool((network.weight.grad != 0).any()) == is_labelled
    assert losses[False] == 0
    assert losses[True] > 0


GEOMETRIES = [name for name, kind in AUGMENTATIONS.items() if issubclass(kind, Geometry)]


@WAYS
@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.sampled_from(GEOMETRIES), min_size=1, max_size=3),
    size=st.none() | st.tuples(st.integers(4, 40), st.integers(4, 40)),
    epoch=st.integers(0, 1000),
)
def test_no_augmentation_mixes_ids(held_and_streamed, memory, names, size, epoch):
    """Ids after a change are ids from before it; bilinear would make 4 of 0 and 9."""
    samples = held_and_streamed[memory]
    steps = [AUGMENTATIONS[name](**OPTIONS.get(name, {})) for name in names]
    change = Augment(steps, size_hw=size, preprocessing=Preprocessing(), info=DataInfo(), seed=0)
    batch = change([samples[i] for i in range(len(samples))], epoch)
    assert set(batch["mask"].unique().tolist()) <= {0, 9, IGNORE}


@pytest.fixture(scope="module")
def held_and_streamed(tmp_path_factory):
    root = masks(tmp_path_factory.mktemp("set"), grey_png(IDS * 9), classes="\n".join(map(str, range(10))))
    for number in (1, 2):
        (root / "masks" / f"{number}.png").write_bytes(grey_png(IDS * 9))
    return {memory: scanned(root, memory=memory).samples for memory in (True, False)}
