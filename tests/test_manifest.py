"""manifest.json: no file of a run changes unnoticed, and a kill between two writes leaves files that it lists."""

import json
import os
import random

import pytest

from unpool import manifest
from unpool.errors import ModelFileError
from unpool.manifest import NAME, Manifest, differences, read_bound, read_manifest, sum_of
from unpool.run_directory import RunDirectory


class Killed(BaseException):
    """What stands for SIGKILL: nothing of the library may catch it."""


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.write({"a.json": b"first", "b.json": b"second"}, recipe={"train": {"lr": 0.1}})
    return directory


def kill_at(monkeypatch, number):
    """Ends the process, as it were, before the operation of this number on a file; returns the count so far."""
    count = [0]

    def counted(operation):
        def run(*args, **kwargs):
            count[0] += 1
            if count[0] == number:
                raise Killed
            return operation(*args, **kwargs)

        return run

    for name in ("fsync", "replace", "open"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return count


def test_every_kill_within_a_replacement_leaves_files_that_can_be_read(run, monkeypatch):
    number, seen = 0, set()
    while True:
        number += 1
        with monkeypatch.context() as patch:
            kill_at(patch, number)
            try:
                run.write({"a.json": b"first again", "b.json": b"second again"})
            except Killed:
                pass
            else:
                break
        assert differences(run.path) == {}
        seen.add((read_bound(run / "a.json"), read_bound(run / "b.json")))
        run.write({"a.json": b"first", "b.json": b"second"})
    assert number > 10
    assert seen == {(b"first", b"second"), (b"first again", b"second"), (b"first again", b"second again")}


def test_once_a_file_is_replaced_no_other_content_is_accepted(run):
    run.write({"a.json": b"later"})
    (run / "a.json").write_bytes(b"first")
    with pytest.raises(ModelFileError, match="not the file that the run wrote"):
        read_bound(run / "a.json")


@pytest.mark.parametrize("name", ["a.json", NAME])
def test_one_flipped_bit_is_named(run, name):
    whole = (run / name).read_bytes()
    generator, answers = random.Random(0), []
    for _ in range(48):
        data = bytearray(whole)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        (run / name).write_bytes(data)
        try:
            answers.append(read_bound(run / "a.json").decode())
        except ModelFileError as error:
            answers.append(str(error))
    assert all(answer == "first" or name in answer for answer in answers)
    assert answers.count("first") <= (12 if name == NAME else 0)  # the bit of a space that nothing means


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda run: (run / "a.json").write_bytes(b"firsf"),
            r"a\.json is not .*its sha256 differs from that in manifest",
        ),
        (lambda run: (run / "a.json").write_bytes(b"fir"), r"it has 3 bytes and not the 5 of manifest\.json"),
        (lambda run: (run / "a.json").unlink(), r"a\.json is missing, and the run wrote it"),
        (
            lambda run: (run / NAME).unlink(),
            r"holds no manifest\.json.*earlier version of Unpool, or was copied in part",
        ),
        (lambda run: (run / NAME).write_bytes(b"{}"), r"manifest\.json is damaged"),
        (lambda run: (run / NAME).write_bytes(b"[" * 100_000), r"manifest\.json is damaged"),
        (lambda run: (run / NAME).write_bytes(b""), r"manifest\.json is damaged"),
    ],
)
def test_change_is_named(run, change, says):
    change(run)
    with pytest.raises(ModelFileError, match=says):
        read_bound(run / "a.json")


def test_file_that_the_run_did_not_write_is_refused_and_one_not_yet_written_is_named(run):
    with pytest.raises(ModelFileError, match="the run did not get that far"):
        read_bound(run / "c.json")
    (run / "c.json").write_bytes(b"mine")
    with pytest.raises(ModelFileError, match=r"no file that the run wrote.*remove it"):
        read_bound(run / "c.json")


def test_manifest_of_a_newer_version_says_so(run, monkeypatch):
    monkeypatch.setattr("unpool.manifest.FORMAT", 2)
    data = Manifest({"a.json": (sum_of(b"first"),)}).dump()
    monkeypatch.undo()
    (run / NAME).write_bytes(data)
    with pytest.raises(ModelFileError, match=r"newer version of Unpool \(format 2, this one reads 1\): update"):
        read_bound(run / "a.json")


def test_run_that_was_copied_elsewhere_is_bound_there(run, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "copy"
    run.path.rename(other)
    assert read_bound(other / "a.json") == b"first"
    assert differences(other) == {}
    (other / "b.json").write_bytes(b"Second")
    assert list(differences(other)) == ["b.json"]


def test_recipe_has_the_keys_that_json_gives_it(run):
    run.write({}, recipe={"data": {"mask_values": {10: 1, 9: 0}, "size": (3, 4)}})
    assert read_manifest(run.path).recipe == {"data": {"mask_values": {"10": 1, "9": 0}, "size": [3, 4]}}
    assert json.loads((run / NAME).read_text())["format"] == 1


def test_file_replaced_while_it_is_read_is_read_again(run, monkeypatch):
    def read_then_replace(folder):
        monkeypatch.setattr("unpool.manifest.read_manifest", read_manifest)
        run.write({"a.json": b"newer"})
        return read_manifest(folder)

    monkeypatch.setattr("unpool.manifest.read_manifest", read_then_replace)
    assert read_bound(run / "a.json") == b"newer"


def test_check_beside_a_trainer_that_replaces_a_file_finds_nothing(run, monkeypatch):
    real, writes = manifest._sum_of_file, [b"newer"]

    def replaced_meanwhile(path):
        if writes:
            run.write({"a.json": writes.pop()})
        return real(path)

    monkeypatch.setattr(manifest, "_sum_of_file", replaced_meanwhile)
    assert differences(run.path) == {}
    assert not writes
