"""From readers to samples: what is left out, what stops, what is held."""

import logging
import os
import pickle
import time
from collections import namedtuple
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from PIL import Image

from unpool import machine
from unpool.data import memory as memory_module
from unpool.data import store
from unpool.data.contents import Changed
from unpool.data.image_file import Unreadable, Unusable
from unpool.data.looking import Binding
from unpool.data.measure import MeasuringReader
from unpool.data.memory import ColumnWriter, MemorySamples
from unpool.data.readers.folder import Folder
from unpool.data.repeated import Repeated
from unpool.data.store import scan
from unpool.data.streamed import StreamedSamples
from unpool.errors import DataError, EnvironmentFault
from unpool.types import DataInfo, Fault, Sample


class Listed:
    """A reader as a user writes one: samples, or the errors they raise."""

    gives = ("image", "mask")

    def __init__(self, items: list, *, classes: int = 3) -> None:
        self.items = items
        self.info = DataInfo(classes=tuple("abcdefgh"[:classes]))
        self.names = [f"{i}.png" for i in range(len(items))]
        self.faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


def segmented(height: int = 4, width: int = 5, *, value: int = 1) -> Sample:
    image = torch.full((3, height, width), value, dtype=torch.uint8)
    return {"image": image, "mask": torch.full((height, width), value, dtype=torch.uint8)}


def classified(label: int) -> Sample:
    return {"image": torch.full((3, 4, 4), label % 256, dtype=torch.uint8), "label": torch.tensor(label)}


def boxed(*several: list[int]) -> Listed:
    """One list of labels an image, each with a box."""
    items = []
    for labels in several:
        image = torch.zeros(3, 4, 4, dtype=torch.uint8)
        items.append({"image": image, "boxes": torch.rand(len(labels), 4), "labels": torch.tensor(labels).long()})
    reader = Listed(items)
    reader.gives = ("image", "boxes", "labels")
    return reader


def labelled(*labels: int, classes: int = 3) -> Listed:
    reader = Listed([classified(label) for label in labels], classes=classes)
    reader.gives = ("image", "label")
    return reader


def tree(root: Path, *, count: int = 4, size: tuple[int, int] = (9, 7)) -> Path:
    for name in ("ant", "bee"):
        (root / "val" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (i, len(name), 0)).save(root / "val" / name / f"{i:03d}.png")
    return root


@pytest.mark.parametrize("memory", [True, False])
def test_samples_of_all_sizes_come_back_as_they_were(memory):
    items = [segmented(2 + i % 3, 3 + i % 5, value=i % 3) for i in range(40)]
    samples = scan(Listed(items), memory=memory).samples
    assert isinstance(samples, MemorySamples if memory else StreamedSamples)
    for i, item in enumerate(items):
        sample = samples[i]
        assert sample["image"].equal(item["image"])
        assert sample["mask"].equal(item["mask"])
        assert samples.sizes_hw[i] == tuple(sample["size_hw"].tolist()) == tuple(item["image"].shape[1:])
        assert sample["index"].dtype == torch.int64
        assert int(sample["index"]) == i


def test_samples_of_one_size_are_held_as_one_block():
    samples = scan(labelled(0, 1, 2, 1), memory=True).samples
    first, second = samples[0]["image"], samples[1]["image"]
    assert second.data_ptr() - first.data_ptr() == first.numel()
    assert int(samples[2]["label"]) == 2
    with pytest.raises(IndexError, match="sample 4 of 4"):
        samples[4]


@pytest.mark.parametrize("chunk", [1, 100, 1000])
def test_columns_of_several_chunks_give_each_value_back(chunk, monkeypatch):
    monkeypatch.setattr(memory_module, "CHUNK_BYTES", chunk)
    values = [torch.full((i % 4 + 1, 6), i, dtype=torch.float32) for i in range(30)]
    writer = ColumnWriter(is_shared=False)
    for value in values:
        writer.append(value)
    column = writer.column()
    assert all(column[i].equal(value) for i, value in enumerate(values))


def test_annotations_without_any_entry_are_held():
    items = [{"image": classified(0)["image"], "boxes": torch.zeros(n, 4)} for n in (0, 2, 0)]
    reader = Listed(items)
    reader.gives = ("image", "boxes")
    samples = scan(reader, memory=True).samples
    assert [tuple(samples[i]["boxes"].shape) for i in range(3)] == [(0, 4), (2, 4), (0, 4)]


def test_unreadable_files_are_left_out_and_counted(caplog):
    items = [segmented(value=0), Unreadable("x/1.png", "file is empty (0 bytes)"), segmented(value=2)]
    with caplog.at_level(logging.WARNING):
        result = scan(Listed(items), memory=True)
    assert result.faults == [Fault("x/1.png", "file is empty (0 bytes)")]
    assert result.manifest["skipped"] == [{"path": "x/1.png", "reason": "file is empty (0 bytes)"}]
    assert list(result.samples.names) == result.manifest["names"] == ["0.png", "2.png"]
    assert result.samples[1]["image"].equal(items[2]["image"])
    assert int(result.samples[1]["index"]) == 1
    assert "left out x/1.png: file is empty (0 bytes)" in caplog.text


def test_streamed_samples_skip_what_the_scan_left_out():
    items = [segmented(value=0), OSError(5, "Input/output error"), segmented(value=2)]
    result = scan(Listed(items), memory=False)
    assert result.faults == [Fault("1.png", "cannot read (Input/output error)")]
    assert result.samples[1]["image"].equal(items[2]["image"])


@pytest.mark.parametrize("memory", [True, False])
def test_all_broken_files_stand_in_one_report(memory):
    items = [Unusable(f"{i}.png", "format PSD not enabled") if i % 2 else segmented() for i in range(60)]
    with pytest.raises(DataError) as caught:
        scan(Listed(items), memory=memory)
    text = str(caught.value)
    assert text.startswith("30 of 60 samples cannot be used:\n  1.png: format PSD not enabled\n  3.png:")
    assert "5.png: format PSD not enabled\n    and 27 more of this cause\n  all 30 are listed in " in text


def test_faults_of_one_cause_are_grouped_whatever_their_names_and_numbers():
    alike = [Unusable(f"m/{i}.png", f"mask is {i}x8, its image images/{i}.jpg decodes to 6x{i}") for i in range(5)]
    ids = [Unusable(f"m/{i}.png", f"mask has ids {{0, {i}}}, so {list(range(i))} mean nothing") for i in range(2, 6)]
    with pytest.raises(DataError) as caught:
        scan(Listed([*ids, *alike, Unusable("x.png", "format PSD not enabled")]))
    assert str(caught.value).splitlines()[1:-1] == [
        *(f"  m/{i}.png: mask is {i}x8, its image images/{i}.jpg decodes to 6x{i}" for i in range(3)),
        "    and 2 more of this cause",
        *(f"  m/{i}.png: mask has ids {{0, {i}}}, so {list(range(i))} mean nothing" for i in range(2, 5)),
        "    and 1 more of this cause",
        "  x.png: format PSD not enabled",
    ]


def test_files_left_out_for_one_cause_are_logged_as_three_and_a_number(caplog):
    items = [Unreadable(f"{i}.png", "file is empty (0 bytes)") if i < 9 else segmented() for i in range(20)]
    with caplog.at_level(logging.WARNING):
        result = scan(Listed(items))
    assert len(result.manifest["skipped"]) == 9
    assert [line for line in caplog.messages if line.startswith("left out")] == [
        *(f"left out {i}.png: file is empty (0 bytes)" for i in range(3)),
        "left out 6 more of this cause",
    ]


def test_faults_in_a_user_s_code_are_not_taken_for_bad_data():
    with pytest.raises(ZeroDivisionError):
        scan(Listed([segmented(), ZeroDivisionError("mine")]), memory=True)


@pytest.mark.parametrize(
    ("total", "bad", "is_fine"), [(20, 10, True), (20, 11, False), (2000, 20, True), (2000, 21, False)]
)
def test_more_unreadable_files_than_ten_and_one_percent_stop(total, bad, is_fine):
    items = [Unreadable(f"{i}.png", f"damaged PNG file: {i} bytes") if i < bad else classified(0) for i in range(total)]
    reader = Listed(items)
    reader.gives = ("image",)
    if is_fine:
        assert len(scan(reader, memory=True).faults) == bad
        return
    with pytest.raises(
        DataError, match=rf"{bad} of {total} files cannot be read, more than the \d+ allowed:"
    ) as caught:
        scan(reader, memory=True)
    assert f"  2.png: damaged PNG file: 2 bytes\n    and {bad - 3} more of this cause" in str(caught.value)


def test_faults_of_the_listing_count_too():
    reader = labelled(*[0] * 20)
    reader.faults = [Fault(f"{i}.png", "dangling symbolic link") for i in range(11)]
    with pytest.raises(DataError, match="11 of 31 files cannot be read"):
        scan(reader)


@pytest.mark.parametrize("memory", [True, False])
def test_targets_come_without_the_image_and_skip_what_the_scan_left_out(memory):
    broken = Unreadable("0.png", "file is empty (0 bytes)")
    reader = Listed([broken, classified(1), classified(2)])
    reader.gives = ("image", "label")
    samples = scan(reader, memory=memory).samples
    assert [int(samples.targets(i)["label"]) for i in range(2)] == [1, 2]
    repeated = Repeated(samples, 2)
    assert [int(repeated.targets(i)["label"]) for i in range(4)] == [1, 1, 2, 2]


def test_nothing_left_is_an_error():
    with pytest.raises(DataError, match="2 of 2 files cannot be read, so that none is left"):
        scan(Listed([Unreadable(f"{i}.png", "file is empty (0 bytes)") for i in range(2)]))


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("label", [-1, 3, 1000])
def test_label_that_is_no_class_names_sample_and_value(label, memory):
    with pytest.raises(DataError, match=rf"1\.png: label \[{label}\], allowed are 0 to 2; correct the file"):
        scan(labelled(0, label), memory=memory)


@pytest.mark.parametrize("memory", [True, False])
def test_mask_value_that_is_no_class_names_sample_and_value(memory):
    bad = segmented()
    bad["mask"][0, 0] = 9
    bad["mask"][1, 1] = 255
    with pytest.raises(DataError, match=r"1\.png: mask \[9\], allowed are 0 to 2 and 255 for no label"):
        scan(Listed([segmented(), bad]), memory=memory)


@pytest.mark.parametrize("memory", [True, False])
def test_labels_of_boxes_are_checked_as_others_are(memory):
    with pytest.raises(DataError, match=r"1\.png: labels \[-1, 3\], allowed are 0 to 2; correct the file"):
        scan(boxed([0, 2], [3, 1, -1]), memory=memory)


@pytest.mark.parametrize("memory", [True, False])
def test_boxes_of_any_number_come_back_as_they_were(memory):
    samples = scan(boxed([0, 2], [], [1]), memory=memory).samples
    assert [samples[i]["labels"].tolist() for i in range(3)] == [[0, 2], [], [1]]
    assert [tuple(samples[i]["boxes"].shape) for i in range(3)] == [(2, 4), (0, 4), (1, 4)]


@pytest.mark.parametrize("shared", [True, False])
def test_set_without_any_box_is_held(shared):
    samples = scan(boxed([], []), memory=True, shared=shared).samples
    assert [tuple(samples[i]["boxes"].shape) for i in range(2)] == [(0, 4), (0, 4)]


@pytest.mark.parametrize("memory", [True, False])
def test_empty_boxes_of_another_kind_are_refused_by_name(memory):
    reader = boxed([0], [], [1])
    reader.items[1]["labels"] = torch.zeros(0)
    words = r"1\.png: labels is torch.float32 of 1 axes, in samples before torch.int64 of 1 axes"
    with pytest.raises(DataError, match=words):
        scan(reader, memory=memory)


def test_value_that_is_no_tensor_is_refused_by_name():
    reader = boxed([0], [1])
    reader.items[1]["labels"] = [1]
    with pytest.raises(DataError, match=r"1\.png: labels is a list; a reader gives tensors"):
        scan(reader, memory=False)


def test_first_id_beyond_the_classes_is_refused():
    bad = segmented(value=3)
    with pytest.raises(DataError, match=r"mask \[3\]"):
        scan(Listed([segmented(value=2), bad]))


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (
            {**segmented(), "mask": torch.zeros(5, 4, dtype=torch.uint8)},
            r"mask is torch.uint8 \(5, 4\); expected uint8 \(4",
        ),
        (
            {**segmented(), "mask": torch.zeros(4, 5, dtype=torch.int64)},
            r"mask is torch.int64 \(4, 5\); expected uint8",
        ),
        ({**segmented(), "image": torch.zeros(3, 4, 5)}, r"image is torch.float32 \(3, 4, 5\); a reader gives uint8"),
        ({**segmented(), "image": torch.zeros(4, 5, dtype=torch.uint8)}, r"image is torch.uint8 \(4, 5\)"),
    ],
)
def test_sample_of_another_kind_is_refused(sample, told):
    with pytest.raises(DataError, match=told):
        scan(Listed([sample]))


def test_small_sets_are_held_and_large_ones_streamed(monkeypatch):
    reader = labelled(0, 1, 2)
    assert scan(reader).manifest["memory"] is True
    monkeypatch.setattr(store, "free_bytes", lambda: 4 * 3 * (3 * 16 + 8))
    assert scan(reader).manifest["memory"] is False
    monkeypatch.setattr(store, "free_bytes", lambda: 4 * 3 * (3 * 16 + 8) + 4)
    assert scan(reader).manifest["memory"] is True
    monkeypatch.setattr(store, "MOST_BYTES", 100)
    assert scan(reader).manifest["memory"] is False


def test_memory_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(store, "free_bytes", lambda: 10)
    with pytest.raises(EnvironmentFault, match=r"need 0 MiB and 0 MiB of memory are free: set data\.memory=false"):
        scan(labelled(0, 1), memory=True)


def test_free_memory_obeys_the_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    whole = machine.free_bytes()
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("4000000\n")
    assert machine.free_bytes() == 1_000_000 < whole
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 2500000\nactive_file 7\n")
    assert machine.free_bytes() == 3_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_bytes() > 1_000_000


def test_progress_counts_every_sample():
    told = []
    scan(labelled(0, 1, 2), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_shared_samples_travel_by_handle_not_by_copy():
    items = [{"image": torch.zeros(3, 200, 200, dtype=torch.uint8), "label": torch.tensor(1)} for _ in range(8)]
    reader = Listed(items)
    reader.gives = ("image", "label")
    samples = scan(reader, memory=True, shared=True).samples
    assert samples[0]["image"].is_shared()
    assert len(ForkingPickler.dumps(samples)) < 10_000
    assert not scan(reader, memory=True).samples[0]["image"].is_shared()


def test_full_shared_memory_is_refused_before_it_kills(monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(memory_module.shutil, "disk_usage", lambda path: usage(free=100))
    with pytest.raises(EnvironmentFault, match=r"has 0 MiB free and .*: set data\.workers=0 or data\.memory=false"):
        scan(labelled(*[0] * 10), memory=True, shared=True)
    scan(labelled(*[0] * 10), memory=True, shared=False)


@pytest.mark.parametrize(("memory", "verify"), [(True, "decode"), (True, "headers"), (False, "decode")])
def test_every_image_is_decoded_once_by_a_scan_that_is_not_of_headers(tmp_path, monkeypatch, memory, verify):
    from unpool.data.readers import image_files

    decoded = []
    real = image_files.decode_image
    monkeypatch.setattr(
        image_files, "decode_image", lambda path, *a, **k: decoded.append(path.name) or real(path, *a, **k)
    )
    reader = Folder(tree(tmp_path), "val")
    assert isinstance(reader, MeasuringReader)
    scan(reader, memory=False, binding=Binding("headers"))
    assert decoded == []
    scan(reader, memory=memory, binding=Binding(verify))
    assert len(decoded) == (len(reader) if memory else 4)  # the classes hold equal files, one of which is enough


def test_threads_keep_the_order(tmp_path, monkeypatch):
    reader = Folder(tree(tmp_path, count=40), "val")
    monkeypatch.setattr(store, "_threads", lambda *_: 3)
    samples = scan(reader, memory=True).samples
    assert list(samples.names) == reader.names
    assert [int(samples[i]["image"][0, 0, 0]) for i in range(80)] == [*range(40), *range(40)]


def test_file_that_breaks_after_the_scan_is_named(tmp_path):
    samples = scan(Folder(tree(tmp_path), "val"), memory=False).samples
    path = tmp_path / "val" / "ant" / "002.png"
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(Changed, match=r"val/ant/002\.png was changed since the scan \(\d+ bytes, \d+ before\): put"):
        samples[2]
    path.unlink()
    with pytest.raises(Changed, match=r"val/ant/002\.png is gone since the scan: put it back, then resume"):
        samples[2]
    with pytest.raises(IndexError):
        samples[8]


def test_oddities_are_told_once_a_kind_with_their_number(tmp_path, caplog):
    root = tree(tmp_path)
    for name in ("000", "001"):
        Image.new("L", (9, 7)).save(root / "val" / "ant" / f"{name}.png")
    with caplog.at_level(logging.WARNING):
        result = scan(Folder(root, "val"))
    note = {"note": "grey image, its one channel used for all 3", "count": 2, "first": "val/ant/000.png"}
    assert result.manifest["notes"] == [note]
    assert [r.getMessage() for r in caplog.records] == [f"{note['note']}: 2 files, first {note['first']}"]


def test_manifest_says_where_the_names_come_from(tmp_path):
    root = tree(tmp_path)
    manifest = scan(Folder(root, "val")).manifest
    assert manifest["split"] == "val"
    assert manifest["root"] == str(root)
    assert manifest["drawn"] is None
    assert manifest["decoded_bytes"] == 8 * 3 * 9 * 7


def test_empty_and_broken_files_in_a_tree_are_left_out(tmp_path):
    root = tree(tmp_path)
    (root / "val" / "ant" / "000.png").write_bytes(b"")
    Image.effect_noise((64, 64), 50).save(root / "val" / "bee" / "001.png")
    whole = (root / "val" / "bee" / "001.png").read_bytes()
    (root / "val" / "bee" / "001.png").write_bytes(whole[: len(whole) // 2])
    empty, half = str(root / "val" / "ant" / "000.png"), str(root / "val" / "bee" / "001.png")
    for memory, verify, left_out in [
        (True, "decode", [empty, half]),
        (False, "decode", [empty, half]),
        (False, "headers", [empty]),
    ]:
        result = scan(Folder(root, "val"), memory=memory, binding=Binding(verify))
        assert [fault.path for fault in result.faults] == left_out
        assert [path for path, _ in result.manifest["left_out"].values()] == left_out


def test_streamed_samples_pickle(tmp_path):
    samples = scan(Folder(tree(tmp_path), "val"), memory=False).samples
    again = pickle.loads(pickle.dumps(samples))
    assert again[3]["image"].equal(samples[3]["image"])


@pytest.mark.slow
def test_five_thousand_files_a_second_are_listed(tmp_path):
    root = tree(tmp_path, count=1)
    one = root / "val" / "ant" / "000.png"
    for name in ("ant", "bee"):
        for i in range(1, 10_000):
            os.link(one, root / "val" / name / f"{i:06d}.png")
    times = []
    for _ in range(3):
        start = time.process_time()
        result = scan(Folder(root, "val"), memory=False, binding=Binding("headers"))
        times.append(time.process_time() - start)
        assert len(result.samples) == 20_000
    assert 20_000 / min(times) >= 5_000
