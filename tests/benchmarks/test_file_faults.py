"""Promises of the benchmark that ends a run at single operations on its files."""

import json
import shutil

import pytest

from benchmarks import file_faults
from unpool.run_directory import RunDirectory
from unpool.training.files import replace_file

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.mark.slow
def test_run_ends_at_any_operation_and_is_resumed_to_the_same_bits(tmp_path):
    out = tmp_path / "out.json"
    assert file_faults.main(["--kills", "6", "--full", "4", "--seed", "1", "--json", str(out)]) == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [row["figure"] for row in result["rows"][:2]] == ["6 of 6", "4 of 4"]
    assert len(result["details"]["trials"]) == 10


@pytest.mark.slow
def test_trainer_that_binds_a_file_after_it_was_replaced_fails(tmp_path, monkeypatch):
    write = RunDirectory.write

    def replaced_first(self, files, *, recipe=None):
        for name, data in files.items():
            replace_file(self / name, data)
        write(self, files, recipe=recipe)

    monkeypatch.setattr(RunDirectory, "write", replaced_first)
    assert file_faults.main(["--kills", "12", "--full", "0", "--seed", "1"]) == 1
