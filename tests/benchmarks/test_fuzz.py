"""Promises of the fuzzer: it sees a planted fault of each kind."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzzing import child, flips, pictures, recipes, stops
from benchmarks.fuzzing.runs import Peace
from benchmarks.fuzzing.verdict import LONG_VALUE, Answer, Verdict, answer, fault_of
from unpool.data.store import StreamedSamples
from unpool.errors import DataError, RecipeError

TOYS = Path(__file__).parent


def raising(error: Exception) -> Callable[..., object]:
    def verb(*args: object, **options: object) -> object:
        raise error

    return verb


def test_traceback_and_message_of_an_answer_are_judged() -> None:
    assert fault_of(answer(lambda: 3)) is None
    assert fault_of(answer(raising(DataError("a.png is empty; replace it")))) is None
    assert fault_of(answer(raising(KeyError("width"))))[0] == "traceback"
    assert fault_of(answer(raising(DataError("oh"))))[0] == "message"
    assert fault_of(answer(raising(DataError(f"a.png is {'long ' * 500}"))))[0] == "message"
    assert fault_of(answer(raising(RecipeError(f"train.lr is {LONG_VALUE}; write less"))))[0] == "message"
    assert (
        fault_of(Answer(3, "warning: x\nTraceback (most recent call last):\nerror: a.png is empty"))[0] == "traceback"
    )


def test_case_that_hangs_or_dies_is_named_and_the_others_are_tried(tmp_path: Path) -> None:
    program = [sys.executable, str(TOYS / "toy_child.py")]
    found = dict(child.verdicts("toy", 0, range(6), tmp_path, program=program))
    assert {number: verdict.outcome for number, verdict in found.items()} == {
        **{0: "same", 1: "hang", 2: "hang"},
        **{3: "same", 4: "died", 5: "same"},
    }
    assert "in case" in found[1].detail  # where it slept
    assert "in case" in found[2].detail  # where it worked
    assert found[5].detail == "5"


def verdicts_of_recipes(tmp_path: Path, count: int) -> dict[str, Verdict]:
    cases = recipes.cases(tmp_path, 0)
    found = (cases.case(number) for number in range(count))
    return {verdict.outcome: verdict for verdict in found}


def test_mutated_recipes_are_refused_and_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "TRAINED", 0.0)
    assert {"refused by name", "accepted"} <= set(verdicts_of_recipes(tmp_path, 25))


def test_recipe_that_gives_a_traceback_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = recipes.cases(tmp_path, 0)
    monkeypatch.setattr(recipes, "load_recipe", raising(TypeError("'>' not supported")))
    assert cases.case(0).outcome == "traceback"


def test_recipe_that_is_written_as_another_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "TRAINED", 0.0)
    monkeypatch.setattr(recipes, "_written", lambda recipe, path: "scenes_unet")
    assert "silently other" in verdicts_of_recipes(tmp_path, 25)


def test_loss_that_is_not_finite_and_untold_is_seen(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"loss": 1.5}\n{"loss": null}\n', encoding="utf-8")
    assert recipes.not_finite(tmp_path, "", is_done=True)[0] == "not finite"
    assert recipes.not_finite(tmp_path, "", is_done=False) is None
    assert recipes.not_finite(tmp_path, "warning: the loss is not finite", is_done=True) is None


def flipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., object]) -> Verdict:
    run = tmp_path / "runs" / "toy"
    run.mkdir(parents=True)
    (run / "model.safetensors").write_bytes(bytes(100))
    right = dict.fromkeys(flips.VERBS, bytes(100).hex())
    monkeypatch.setattr(flips, "finished", lambda name, work: Peace(run, tmp_path / "a.jpg", right))
    monkeypatch.setattr(flips, "ask", ask)
    return flips.cases(tmp_path, 0).case(1)


def test_loader_that_ignores_a_flip_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(verb: str, directory: Path, image: Path) -> tuple[Answer, str]:
        return Answer(0, ""), (directory / "model.safetensors").read_bytes().hex()

    assert flipped(tmp_path, monkeypatch, ask).outcome == "silently other"


def test_flip_refused_by_name_and_flip_without_effect_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Answer(3, "error: model.safetensors differs from its sha256")
    assert flipped(tmp_path, monkeypatch, lambda *args: (refused, "")).outcome == "refused by name"
    right = bytes(100).hex()
    assert flipped(tmp_path / "b", monkeypatch, lambda *args: (Answer(0, ""), right)).outcome == "same"


@pytest.fixture
def tiny_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pictures.Pictures:
    monkeypatch.setattr(pictures, "finished", lambda name, work: None)
    monkeypatch.setattr(pictures.Pictures, "_predict", lambda cases, path: None)
    monkeypatch.setattr(pictures, "TRAIN_EVERY", 10**6)
    return pictures.cases(tmp_path, 0)


def test_streamed_picture_that_is_read_otherwise_is_seen(
    tiny_pictures: pictures.Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = next(n for n in range(1, 60) if tiny_pictures.case(n).outcome == "same")
    read = StreamedSamples.__getitem__

    def spoiled(samples: StreamedSamples, index: int) -> dict:
        sample = read(samples, index)
        return {**sample, "image": sample["image"] ^ 1}

    monkeypatch.setattr(StreamedSamples, "__getitem__", spoiled)
    assert tiny_pictures.case(number).outcome == "silently other"


def test_picture_that_only_one_mode_reads_is_seen(tiny_pictures: pictures.Pictures) -> None:
    whole = pictures.Seen("", {str(name): "print" for name in range(8)}, {})
    short = pictures.Seen("", {str(name): "print" for name in range(7)}, {"7": "empty"})
    refused = pictures.Seen("odd.png: 3 bands", {}, {})
    assert pictures._differences({"held": whole, "streamed": whole}, "odd") == ""
    assert "empty" in pictures._differences({"held": whole, "streamed": short}, "odd")
    assert "3 bands" in pictures._differences({"held": whole, "streamed": refused}, "odd")
    assert "without the file's name" in pictures._differences({"held": refused, "streamed": refused}, "even")


def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, signals: tuple[str, ...]) -> list[Verdict]:
    monkeypatch.setattr(stops, "WORKERS", (0,))
    monkeypatch.setattr(stops, "KINDS", signals)
    monkeypatch.setattr(stops, "EARLY", 0.0)
    monkeypatch.setattr(stops, "CHAIN", 3)
    cases = stops.Stops(tmp_path, 0, program=[sys.executable, str(TOYS / "toy_trainer.py"), kind])
    return [cases.case(number) for number in range(3)]


def test_traceback_of_a_stopped_trainer_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = stopped(tmp_path, monkeypatch, "exact", signals=("SIGINT",))
    assert "traceback" in [verdict.outcome for verdict in verdicts]
    assert "KeyboardInterrupt" in "".join(verdict.detail for verdict in verdicts)


@pytest.mark.slow
def test_trainer_that_resumes_exactly_passes_and_one_that_forgets_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = [verdict.outcome for verdict in stopped(tmp_path / "a", monkeypatch, "exact", signals=("SIGKILL",))]
    assert (right[-1], set(right) <= {"same", "stopped"}) == ("same", True)
    assert stopped(tmp_path / "b", monkeypatch, "forgets", signals=("SIGKILL",))[-1].outcome == "silently other"


def test_fuzzing_goes_on_where_it_was_and_fails_by_any_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, mended = [], []

    def tried(kind: str, numbers: range, *, seed: int, work: Path):
        for number in numbers:
            asked.append(number)
            yield number, Verdict("lost" if number == 21 and not mended else "same", "x.json, cut", "detail")

    monkeypatch.setattr(fuzz, "tried", tried)
    out = tmp_path / "fuzz.json"
    more = ["--only", "flips", "--work", str(tmp_path), "--json", str(out)]
    assert fuzz.main([*more, "--count", "20"]) == 0
    assert fuzz.main([*more, "--count", "30"]) == 1
    assert asked == list(range(30))
    result = json.loads(out.read_text(encoding="utf-8"))
    assert [row["figure"] for row in result["rows"]] == ["30: 29 same", "0, 0, 1, 0, 0"]
    assert result["table"] == [["kind", "changed", "same", "lost"], ["flips", "x.json", "29", "1"]]
    assert "flips 21: lost, x.json, cut\ndetail" in capsys.readouterr().out
    mended.append(21)
    assert fuzz.main([*more, "--count", "30", "--again"]) == 0
    assert asked[30:] == [21]
    assert fuzz.main([*more, "--count", "5", "--seed", "1"]) == 0
    assert len(asked) == 36


def test_default_counts_are_those_promised() -> None:
    assert fuzz.KINDS == {"recipes": 2000, "flips": 1000, "pictures": 500, "stops": 200}


def test_recipes_of_one_thing_an_image_are_tried_on_a_set_of_one(tmp_path: Path) -> None:
    cases = recipes.Recipes(tmp_path, 0)
    for name, most in (("fruitveg_localizer", 1), ("voc_fasterrcnn", 2)):
        root = Path(cases._small(cases.bases[name])["data.root"])
        texts = [path.read_text() for path in (root / "Annotations").iterdir()]
        assert max(text.count("<object>") for text in texts) == most
