"""Promises of the speed benchmark: fair turns, honest medians, stand-in pictures in the readers' own formats."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import ours, speed
from benchmarks.peers import pictures
from benchmarks.peers.loop import data_steps, median_of_windows
from benchmarks.peers.pairs import VOID, CamVidPairs
from unpool.data.readers import READERS
from unpool.recipe import load_recipe


class FakeRunner:
    """Remembers the turns; the peer is fastest with 1 worker."""

    def __init__(self) -> None:
        self.turns: list[str] = []

    def _result(self, turn: str, images_per_s: float) -> dict[str, Any]:
        self.turns.append(turn)
        parts = {"images_per_s": images_per_s, "data_only": 2 * images_per_s, "step_only": 3 * images_per_s}
        return {**parts, "batch": 4}

    def ours(self, network: str, root: Path) -> dict[str, Any]:
        return self._result("A", 30.0)

    def peer(self, network: str, root: Path, workers: int) -> dict[str, Any]:
        return self._result(f"B{workers}", {0: 5.0, 1: 10.0, 2: 8.0}[workers])


def test_turns_alternate_and_later_rounds_take_the_fastest_peer() -> None:
    runner = FakeRunner()
    found = speed.hold(runner, "unet", Path("x"), workers=[0, 1, 2], rounds=3)
    assert runner.turns == ["A", "B0", "A", "B1", "A", "B2", "A", "B1", "A", "B1"]
    assert found["workers"] == 1
    assert found["peer"]["images_per_s"] == 10.0
    assert found["ratios"] == [3.0, 3.0, 3.0]


def test_rows_hold_the_whole_step_and_both_halves() -> None:
    rows = speed.rows_of("unet", speed.hold(FakeRunner(), "unet", Path("x"), workers=[0, 1], rounds=1))
    assert [row.figure for row in rows] == ["30.0", "60.0", "90.0"]
    assert rows[0].what == "U-Net 31 M, 256x256, batch 4, whole step, images/s"
    assert rows[0].reference == "10.0 (peer, 1 workers): 3.00 times (3.00 to 3.00)"


@pytest.mark.parametrize(
    ("times_s", "workers", "expected"),
    [
        ([1.0, 2.0, 9.0], 0, 2.0),
        ([0.0, 4.0, 0.0, 4.0, 0.0, 4.0], 2, 2.0),  # two workers deliver in pairs
        ([1.0], 4, 1.0),
    ],
)
def test_median_of_windows_sees_through_bunches(times_s: list[float], workers: int, expected: float) -> None:
    assert median_of_windows(times_s, workers) == expected


def test_data_alone_is_timed_over_more_batches_than_lie_ready() -> None:
    assert (data_steps(0, 5), data_steps(2, 5), data_steps(2, 60)) == (5, 16, 60)


@pytest.mark.parametrize(
    ("write", "reader", "size_hw"),
    [
        (pictures.write_photos, "folder", (375, 500)),
        (pictures.write_camvid, "camvid", (360, 480)),
        (pictures.write_cifar, "cifar", (32, 32)),
    ],
)
def test_stand_ins_are_what_our_readers_read(tmp_path: Path, write: Any, reader: str, size_hw: tuple[int, int]) -> None:
    root = write(tmp_path / "set", count=5, seed=0)
    found = READERS[reader](root, "train")
    assert len(found) == 5
    assert tuple(found[4]["image"].shape) == (3, *size_hw)


def test_stand_in_photographs_weigh_what_photographs_weigh(tmp_path: Path) -> None:
    root = pictures.write_photos(tmp_path, count=2, seed=0)
    for path in root.rglob("*.jpg"):
        assert 40_000 < path.stat().st_size < 120_000


def test_real_pictures_are_preferred(tmp_path: Path) -> None:
    (tmp_path / "data/camvid").mkdir(parents=True)
    assert speed.pictures_of("unet", tmp_path / "data", tmp_path) == tmp_path / "data/camvid"


def test_peer_pairs_are_the_size_asked_for_with_classes_and_void(tmp_path: Path) -> None:
    image, mask = CamVidPairs(pictures.write_camvid(tmp_path, count=1, seed=0), (352, 480))[0]
    assert tuple(image.shape) == (3, 352, 480)
    assert tuple(mask.shape) == (352, 480)
    assert image.is_floating_point()
    assert not mask.is_floating_point()
    assert 0 <= int(mask.min()) <= int(mask.max()) <= VOID


@pytest.mark.parametrize("network", list(speed.CONTESTS))
def test_recipe_and_peer_agree_on_network_and_batch(network: str) -> None:
    recipe = load_recipe(ours.RECIPES / f"{network}.yaml", {"data.root": "x"})
    script = (speed.ROOT / f"benchmarks/peers/{network}.py").read_text(encoding="utf-8")
    assert f'network="{recipe.model.name}", batch={recipe.train.batch},' in script
    size = recipe.data.train_size or recipe.data.size
    assert size is None or f"{size[0]}x{size[1]}" in speed.CONTESTS[network].title


def test_masks_of_stand_ins_hold_every_class(tmp_path: Path) -> None:
    root = pictures.write_camvid(tmp_path, count=1, seed=0)
    colours = Image.open(root / "CamVid/trainannot/0000.png").getcolors()
    assert colours is not None
    assert {value for _, value in colours} == set(range(12))
