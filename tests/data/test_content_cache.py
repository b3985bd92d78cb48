"""What is remembered of files is right or forgotten, whatever happens to the file that remembers it."""

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unpool.data import content_cache
from unpool.data.content_cache import ContentCache, Stamp
from unpool.data.contents import ContentReader


def settled(path: Path, data: bytes, *, age_s: float = 100) -> Path:
    path.write_bytes(data)
    old_ns = time.time_ns() - int(age_s * 1e9)
    os.utime(path, ns=(old_ns, old_ns))
    time.sleep(0.06)  # ctime cannot be set
    return path


def remember(folder: Path, path: Path) -> None:
    with ContentCache(folder) as cache:
        ContentReader(cache).of(path)


def test_sha256_is_recalled_only_while_size_and_both_times_are_the_same(tmp_path):
    path = settled(tmp_path / "a", b"one")
    remember(tmp_path / "cache", path)
    with ContentCache(tmp_path / "cache") as cache:
        stamp = Stamp.of(path)
        assert cache.sha256(path, stamp) == hashlib.sha256(b"one").digest()
        for name in Stamp._fields:
            assert cache.sha256(path, stamp._replace(**{name: getattr(stamp, name) + 1})) is None
        assert cache.sha256(tmp_path / "b", stamp) is None


def test_change_of_equal_size_with_its_old_time_is_seen(tmp_path):
    path = settled(tmp_path / "a", b"one")
    remember(tmp_path / "cache", path)
    before = Stamp.of(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    with ContentCache(tmp_path / "cache") as cache:
        assert ContentReader(cache).of(path).sha256 == hashlib.sha256(b"two").digest()


def test_file_written_a_moment_ago_is_not_remembered(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    with ContentCache(tmp_path / "cache") as cache:
        stamp = Stamp.of(path)
        cache.keep_sha256(path, stamp, bytes(32), read_at_ns=max(stamp.mtime_ns, stamp.ctime_ns) + 1000)
        assert cache.sha256(path, stamp) is None


def test_facts_are_of_content_and_key(tmp_path):
    with ContentCache(tmp_path) as cache:
        cache.remember(b"1" * 32, "decodes", b"yes")
    with ContentCache(tmp_path) as cache:
        assert cache.recall(b"1" * 32, "decodes") == b"yes"
        assert cache.recall(b"1" * 32, "decodes otherwise") is None
        assert cache.recall(b"2" * 32, "decodes") is None


@pytest.mark.parametrize("damage", ["text", "empty", "newer"])
def test_file_that_is_damaged_or_newer_is_made_anew_and_the_log_says_so(tmp_path, caplog, damage):
    path = settled(tmp_path / "a", b"one")
    remember(tmp_path / "cache", path)
    file = tmp_path / "cache" / "contents.sqlite"
    if damage == "newer":
        with sqlite3.connect(file) as database:
            database.execute(f"PRAGMA user_version={content_cache.FORMAT + 1}")
    else:
        file.write_bytes(b"" if damage == "empty" else b"no database" * 500)
    with ContentCache(tmp_path / "cache") as cache:
        assert cache.sha256(path, Stamp.of(path)) is None
        cache.remember(b"1" * 32, "decodes", b"yes")
    assert ("is made anew: it" in caplog.text) == (damage != "empty")
    with ContentCache(tmp_path / "cache") as cache:
        assert cache.recall(b"1" * 32, "decodes") == b"yes"


def test_no_flipped_bit_gives_a_wrong_answer(tmp_path):
    paths = [settled(tmp_path / f"{i}", bytes([i]) * 9) for i in range(3)]
    with ContentCache(tmp_path / "cache") as cache:
        for path in paths:
            ContentReader(cache).of(path)
    file = tmp_path / "cache" / "contents.sqlite"
    whole, rng, right = file.read_bytes(), random.Random(0), 0
    for _ in range(150):
        place = rng.randrange(len(whole))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        with ContentCache(tmp_path / "cache") as cache:
            for i, path in enumerate(paths):
                known = cache.sha256(path, Stamp.of(path))
                assert known in (None, hashlib.sha256(bytes([i]) * 9).digest())
                right += known is not None
    assert right > 200  # most flips lie where nothing is


def test_folder_that_cannot_be_written_costs_nothing_but_memory(tmp_path):
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    for folder in (tmp_path / "cache", tmp_path / "cache" / "deeper", None):
        path = settled(tmp_path / "a", b"one")
        with ContentCache(folder) as cache:
            assert ContentReader(cache).of(path).sha256 == hashlib.sha256(b"one").digest()
            cache.remember(b"1" * 32, "decodes", b"yes")
            assert cache.recall(b"1" * 32, "decodes") == b"yes"


def test_two_processes_keep_what_both_learned(tmp_path):
    code = (
        "import sys; from pathlib import Path; from unpool.data.content_cache import ContentCache\n"
        "name = sys.argv[2]\n"
        "for part in range(20):\n"
        "    with ContentCache(Path(sys.argv[1])) as cache:\n"
        "        for i in range(50):\n"
        "            cache.remember(b'1' * 32, f'{name} {part} {i}', name.encode())\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in ("one", "two")]
    assert [process.wait(120) for process in both] == [0, 0]
    with ContentCache(tmp_path) as cache:
        for name in ("one", "two"):
            known = [cache.recall(b"1" * 32, f"{name} {part} {i}") for part in range(20) for i in range(50)]
            assert known == [name.encode()] * 1000


def test_the_oldest_is_dropped_where_there_is_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(content_cache, "MOST_ROWS", 100)
    for day in range(3):
        monkeypatch.setattr(content_cache.time, "time", lambda day=day: 86400.0 * day)
        with ContentCache(tmp_path) as cache:
            for i in range(60):
                cache.remember(b"1" * 32, f"{day} {i}", b"")
    with ContentCache(tmp_path) as cache:
        known = [sum(cache.recall(b"1" * 32, f"{day} {i}") is not None for i in range(60)) for day in range(3)]
    assert known == [0, 0, 50]


def test_facts_are_written_for_others_once_they_are_as_many_as_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(content_cache, "_FLUSH_ROWS", 5)
    known = []
    with ContentCache(tmp_path) as cache, ContentCache(tmp_path) as other:
        for i in range(7):
            cache.remember(b"1" * 32, str(i), b"yes")
            known.append(sum(other.recall(b"1" * 32, str(j)) is not None for j in range(7)))
    assert known == [0, 0, 0, 0, 5, 5, 5]


def test_file_that_another_process_holds_is_left_as_it_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(content_cache, "_BUSY_S", 0.01)
    caplog.set_level("INFO")
    with ContentCache(tmp_path) as cache:
        cache.remember(b"1" * 32, "decodes", b"yes")
    cache = ContentCache(tmp_path)
    cache.remember(b"2" * 32, "decodes", b"lost")
    holder = sqlite3.connect(tmp_path / "contents.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    cache.close()
    holder.close()
    assert "is not kept from run to run" in caplog.text
    assert "is made anew" not in caplog.text
    with ContentCache(tmp_path) as cache:
        assert cache.recall(b"1" * 32, "decodes") == b"yes"
        assert cache.recall(b"2" * 32, "decodes") is None


def test_damage_that_shows_only_when_a_row_is_read_is_mended_for_the_next_run(tmp_path, caplog):
    with ContentCache(tmp_path) as cache:
        cache.remember(b"1" * 32, "decodes", b"yes")
    file = tmp_path / "contents.sqlite"
    with sqlite3.connect(file) as database:
        page = database.execute("PRAGMA page_size").fetchone()[0]
    data = file.read_bytes()
    file.write_bytes(data[:page] + b"\xff" * (len(data) - page))  # the first page, with the names of tables, is whole
    with ContentCache(tmp_path) as cache:
        assert cache.recall(b"1" * 32, "decodes") is None
    assert "is made anew: it is damaged" in caplog.text
    with ContentCache(tmp_path) as cache:
        cache.remember(b"1" * 32, "decodes", b"again")
    with ContentCache(tmp_path) as cache:
        assert cache.recall(b"1" * 32, "decodes") == b"again"
