import errno
import json
import os
import random
from pathlib import Path

import pytest
import torch

from unpool.errors import EnvironmentFault, ModelFileError
from unpool.training import checkpoint, files
from unpool.training.checkpoint import load, remove_later, remove_unfinished, save, states


def content(value: float) -> dict[str, torch.Tensor]:
    return {"model/weight": torch.full((3, 2), value), "count": torch.tensor(7)}


def saved(folder, *steps: int) -> None:
    for step in steps:
        save(folder, content(step), {"step": step, "note": "ü"})


def test_loaded_state_is_the_saved_one(tmp_path):
    saved(tmp_path, 3)
    tensors, meta = load(tmp_path)
    assert torch.equal(tensors["model/weight"], torch.full((3, 2), 3.0))
    assert meta == {"step": 3, "note": "ü"}


def test_newest_two_states_are_kept(tmp_path):
    saved(tmp_path, 9, 10, 11, 100_000_000)
    assert [path.name for path in states(tmp_path)] == ["step-100000000", "step-00000011"]


def test_two_states_of_one_step_are_kept_apart_and_the_later_one_is_read(tmp_path):
    saved(tmp_path, 5)
    save(tmp_path, content(6), {"step": 5, "note": "after evaluation"})
    assert [path.name for path in states(tmp_path)] == ["step-00000005-1", "step-00000005"]
    assert load(tmp_path)[1]["note"] == "after evaluation"


def test_twelfth_state_of_one_step_is_read_before_the_second(tmp_path):
    saved(tmp_path, *[5] * 12)
    assert [path.name for path in states(tmp_path)] == ["step-00000005-11", "step-00000005-10"]


def test_nothing_saved_loads_as_none(tmp_path):
    assert load(tmp_path) is None
    assert load(tmp_path / "missing") is None


def test_tensors_of_any_layout_and_with_shared_memory_are_saved(tmp_path):
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    weight = torch.arange(4.0)
    plain = {"weight": weight, "tied weight": weight, "row": weight[2:]}
    save(tmp_path, {"a": image, "tied": image, "part": image[:, 1], **plain}, {"step": 0})
    tensors, _ = load(tmp_path)
    assert torch.equal(tensors["a"], image)
    assert torch.equal(tensors["tied"], image)
    assert torch.equal(tensors["part"], image[:, 1])
    assert torch.equal(tensors["tied weight"], weight)
    assert torch.equal(tensors["row"], weight[2:])


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_one_flipped_bit_anywhere_falls_back_to_the_state_before(tmp_path, caplog, name):
    saved(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / name
    good = path.read_bytes()
    generator = random.Random(name)
    for _ in range(25):
        spoiled = bytearray(good)
        spoiled[generator.randrange(len(good))] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(spoiled))
        tensors, meta = load(tmp_path)
        assert meta["step"] in ((1, 2) if name == "manifest.json" else (1,))
        assert torch.equal(tensors["model/weight"], torch.full((3, 2), float(meta["step"])))
    assert "step-00000002" in caplog.text


def test_all_states_damaged_is_an_error_that_names_each(tmp_path):
    saved(tmp_path, 1, 2)
    for state in states(tmp_path):
        (state / "state.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"no saved state.*step-00000002/state\.json is damaged.*step-00000001"):
        load(tmp_path)


def test_state_that_the_machine_cannot_open_is_not_passed_over(tmp_path, monkeypatch):
    saved(tmp_path, 1, 2)

    def refuse(path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(EnvironmentFault, match=r"raise `ulimit -n`"):
        load(tmp_path)


def test_state_of_another_format_is_refused(tmp_path):
    saved(tmp_path, 1)
    manifest = tmp_path / "step-00000001" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 2}))
    with pytest.raises(ModelFileError, match=r"newer version of Unpool \(format 2, this one reads 1\): update Unpool"):
        load(tmp_path)


def test_half_written_folders_are_ignored_and_removed_on_the_next_start(tmp_path):
    saved(tmp_path, 1)
    (tmp_path / "step-00000002").mkdir()
    (tmp_path / "step-00000002" / "state.json").write_text("{")
    (tmp_path / ".writing-77-0-step-00000003").mkdir()
    (tmp_path / "notes.txt").write_text("the user's")
    assert load(tmp_path)[1]["step"] == 1
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-00000001"]


def test_states_of_a_dropped_future_are_removed(tmp_path):
    saved(tmp_path, 4, 8)
    remove_later(tmp_path, 4)
    assert [path.name for path in states(tmp_path)] == ["step-00000004"]


def test_damaged_newer_state_never_pushes_out_a_good_one(tmp_path):
    saved(tmp_path, 40, 50)
    (tmp_path / "step-00000050" / "state.json").write_text("{}")
    saved(tmp_path, 41)
    assert load(tmp_path)[1]["step"] == 41


def test_new_state_is_kept_before_two_damaged_later_ones(tmp_path):
    saved(tmp_path, 50, 51)
    for state in states(tmp_path):
        (state / "state.json").write_text("{}")
    saved(tmp_path, 41)
    assert load(tmp_path)[1]["step"] == 41


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_failed_write_or_sync_is_not_saved_and_leaves_the_good_state(tmp_path, monkeypatch, call, number):
    saved(tmp_path, 1)
    calls = []

    def failing(handle):
        calls.append(handle)
        if len(calls) == call:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(EnvironmentFault, match=f"cannot save .*{os.strerror(number)}.*is intact: free some space"):
        saved(tmp_path, 2)
    monkeypatch.undo()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(files.TEMPORARY)]
    assert load(tmp_path)[1]["step"] in (1, 2)
    assert (tmp_path / "step-00000001" / "manifest.json").exists()


def test_every_file_is_synced_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    order = []
    sync, rename = os.fsync, checkpoint.Path.rename

    def noted_sync(handle):
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))  # noqa: PTH115, PTH119
        sync(handle)

    def noted_rename(path, target):
        order.append("rename")
        return rename(path, target)

    monkeypatch.setattr(files.os, "fsync", noted_sync)
    monkeypatch.setattr(checkpoint.Path, "rename", noted_rename)
    folder = tmp_path / "last"
    saved(folder, 1)
    assert order[:3] == ["state.safetensors", "state.json", "manifest.json"]
    assert order[3].startswith(files.TEMPORARY)
    assert order[4:] == ["rename", "last"]


def test_many_saves_leak_neither_handles_nor_disk(tmp_path):
    handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    saved(tmp_path, *range(60))
    assert len(os.listdir("/proc/self/fd")) == handles  # noqa: PTH208
    assert len(list(tmp_path.iterdir())) == 2


def test_tensors_written_over_their_own_file_keep_their_values(tmp_path):
    from safetensors.torch import load_file

    path = tmp_path / "model.safetensors"
    files.write_tensors(path, {"weight": torch.arange(6.0)})
    files.write_tensors(path, load_file(path))
    assert torch.equal(load_file(path)["weight"], torch.arange(6.0))


def test_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    path = tmp_path / "model.safetensors"
    files.write_tensors(path, {"weight": torch.ones(2)})

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(EnvironmentFault, match=r"model\.safetensors .*No space left"):
        files.write_tensors(path, {"weight": torch.zeros(2)})
    assert torch.equal(load_file(path)["weight"], torch.ones(2))
    assert len(list(tmp_path.iterdir())) == 1


def test_finished_run_keeps_the_newest_state_alone(tmp_path):
    saved(tmp_path, 1, 2)
    checkpoint.keep_newest(tmp_path)
    assert [state.name for state in checkpoint.states(tmp_path)] == ["step-00000002"]
    checkpoint.keep_newest(tmp_path / "empty")


def test_newest_state_that_is_damaged_takes_no_older_one_away(tmp_path, caplog):
    saved(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "state.safetensors").write_bytes(b"damaged")
    checkpoint.keep_newest(tmp_path)
    assert checkpoint.load(tmp_path)[1]["step"] == 1
    assert "the states before it are kept" in caplog.text
