"""What is found on public sets is compared with their description by machine."""

from benchmarks.checks_of_sets import EXPECTED, JUDGED, RUNS, beyond, is_said, summed_up

BOXES = next(one for one in EXPECTED if one.cause == "data.box_invalid")
NOTE = "1 of 2805 boxes have no extent: left out, Annotations/BloodImage_00343.xml, object 4"


def result(verdict, cause, *, about="", evidence=()):
    return {"seconds": 3.0, "late": [], "findings": [
        {"check": "x", "verdict": verdict, "cause": cause, "about": about, "evidence": list(evidence)}]}  # fmt: skip


def test_oddity_that_must_be_wrong_is_not_found_in_what_passes():
    assert is_said(BOXES, result("warn", "data.box_invalid", evidence=[NOTE]))
    assert not is_said(BOXES, result("pass", "", evidence=[NOTE]))
    assert not is_said(BOXES, result("warn", "data.leak", about=NOTE))


def test_finding_that_nobody_described_or_judged_counts_as_invented():
    results = {
        "bccd_ssd": result("warn", "data.box_invalid", evidence=[NOTE]),
        "cub_parts": result("fail", "loss.scale"),
    }
    assert beyond("bccd_ssd", results["bccd_ssd"]) == []
    assert [one["reason"] for one in beyond("cub_parts", results["cub_parts"])] == ["not judged"]
    rows, table, _ = summed_up(results)
    assert {row.what: row.figure for row in rows}["invented failures, 2 sets"] == "1"
    assert {row.what: row.figure for row in rows}["oddities that matter and are found"] == "1 of 3"
    assert table[1][:2] == ["bccd", "bccd_ssd"]


def test_each_expected_and_judged_thing_is_of_a_run_and_each_set_has_one():
    names = {run.name for run in RUNS}
    assert {one.run for one in EXPECTED} <= names
    assert {name for name, _ in JUDGED} <= names
    assert len({run.folder for run in RUNS}) == 16
