"""How the words of other tools are compared, and what these tools get of a case."""

import argparse
import ast
import json

import pytest
import torch
from torch import Tensor, nn

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.other_tools import VERSIONS
from benchmarks.mistakes.other_tools.objects import Pairs, Rows, Run, Wrapped
from benchmarks.mistakes.other_tools.script import script_of
from benchmarks.mistakes.others import ALL, beside, chosen, joint, summary, table, verdict, verdicts, verdicts_of_check
from benchmarks.mistakes.tuning import CASES


def said(*findings: tuple[str, str], error: str = "") -> dict[str, object]:
    return {"findings": [(check, level, "words") for check, level in findings], "seconds": 0.1, "error": error}


def case(name: str, cause: str | None = None, of: str = "") -> Case:
    return Case(name, lambda folders: Plain({}), "data", "network", "source", cause, of)


def tuning_case(name: str) -> Case:
    return next(one for one in CASES if one.name == name)


@pytest.mark.parametrize(
    ("mistaken", "healthy", "word"),
    [
        ([("range", "note")], [], "caught"),
        ([("range", "failure")], [("range", "warning")], "caught"),
        ([("range", "warning")], [("range", "warning")], "missed"),
        ([("range", "failure")], [("range", "warning"), ("range", "failure")], "missed"),
        ([("range", "warning"), ("loss", "note")], [("range", "warning")], "caught"),
        ([], [("range", "failure")], "missed"),
    ],
)
def test_mistake_is_caught_by_what_the_healthy_run_does_not_have_as_gravely(mistaken, healthy, word):
    assert verdict(said(*mistaken), said(*healthy)) == word


@pytest.mark.parametrize(
    ("levels", "word"),
    [([], "right"), (["note"], "right"), (["note", "warning"], "warned"), (["failure", "note"], "false alarm")],
)
def test_healthy_run_counts_by_the_gravest_report(levels, word):
    assert verdict(said(*((f"check {level}", level) for level in levels))) == word


def test_tool_that_ends_with_an_error_on_either_run_gives_no_answer():
    assert verdict(said(("range", "failure")), said(error="ValueError")) == "no answer"
    assert verdict(said(("range", "failure"), error="ValueError"), said()) == "no answer"
    assert verdict(said(error="ValueError")) == "no answer"


def test_all_tools_together_catch_what_one_catches_and_alarm_where_one_does():
    assert joint(["missed", "no answer", "caught"]) == "caught"
    assert joint(["no answer", "missed"]) == "missed"
    assert joint(["right", "warned", "false alarm"]) == "false alarm"


def test_figures_count_mistakes_and_healthy_runs_apart_and_leave_recipes_out():
    cases = [case("fine"), case("wrong", "data.leak", "fine"), case("blind", "data.leak", "fine"), case("by_recipe")]
    quiet = dict.fromkeys(VERSIONS, said())
    loud = {**quiet, "torcheck": said(("change", "failure")), "torchtest2": said(error="more than 20 s")}
    words = {"tuning": verdicts(cases, {
        "fine": {**quiet, "torch-audit": said(("range", "warning"))}, "wrong": loud, "blind": quiet,
        "by_recipe": {"torchtest2": {"by_recipe": True}},
    })}  # fmt: skip
    figures = {row.what.split(":")[0].split()[0] + row.what.split(":")[1][:8]: row.figure for row in summary(
        {"tuning": cases}, words
    )}  # fmt: skip
    assert figures["torcheck planted"] == "tuning 1 of 2 (50 %)"
    assert figures["torch-audit healthy"] == "tuning 0 and 1 of 1; 0, 0"
    assert figures["torchtest2 healthy"] == "tuning 0 and 0 of 1; 1, 0"
    assert figures["all planted"] == "tuning 1 of 2 (50 %)"
    assert words["tuning"]["wrong"][ALL] == "caught"
    assert [line[0] for line in table({"tuning": cases}, words, {})] == ["case", "fine", "wrong", "blind"]


def test_check_is_counted_on_the_cases_that_the_others_had_and_only_where_it_ran(tmp_path):
    cases = [case("fine"), case("wrong", "data.leak", "fine"), case("blind", "data.leak", "fine")]
    tools = {"fine": {}, "wrong": {ALL: "caught"}, "blind": {ALL: "caught"}}
    lines = [["case", "planted", "named first", "verdict", "s"], ["fine", "healthy", "-", "right", "9"]]
    lines += [["wrong", "data.leak", "-", "missed", "9"], ["blind", "data.leak", "x", "other cause", "9"]]
    (tmp_path / "mistakes_tuning.json").write_text(json.dumps({"table": [*lines, ["recipe", "x", "x", "caught", "9"]]}))
    ours = {"tuning": verdicts_of_check("tuning", tmp_path)}
    halves = {"tuning": cases, "held": cases}
    rows = beside(halves, {"tuning": tools, "held": tools}, ours)
    assert [row.figure for row in rows] == ["tuning 0 of 2 (0 %), 1", "tuning 1"]
    assert verdicts_of_check("held", tmp_path) == {}


def test_healthy_run_is_measured_with_each_mistake_that_is_asked_for():
    values = argparse.Namespace(data=None, only=["never_zeroed"])
    assert [one.name for one in chosen(CASES, values)] == ["textures_are_named", "gradients_never_zeroed"]


def loops_of(text: str) -> list[str]:
    return [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.For)]


def test_step_of_a_case_stands_in_its_script_as_a_loop_with_what_it_uses():
    text = script_of(tuning_case("gradients_never_zeroed"))
    loops = [loop for loop in loops_of(text) if ".backward()" in loop]
    assert len(loops) == 1
    assert "optimizer.step()" in loops[0]
    assert "zero_grad" not in loops[0]
    assert "def step" not in text
    assert "model = SmallNet(4)" in text
    assert "class SmallNet" in text
    assert "benchmarks" not in text


def test_script_of_a_run_without_a_step_ends_with_the_usual_loop():
    assert [loop for loop in loops_of(script_of(tuning_case("textures_are_named"))) if "zero_grad" in loop]


class Described(nn.Module):
    """Reads a picture and words."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.words = nn.Linear(3, 4), nn.Embedding(5, 4)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        return self.image(image) + self.words(words)


def run_of_dicts() -> Run:
    torch.manual_seed(0)
    model = Described()
    columns = {"image": torch.rand(6, 3), "words": torch.randint(5, (6,)), "label": torch.randint(4, (6,)), "name": "x"}
    return Run(Plain({
        "model": model, "train": [columns], "val": [columns], "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "forward": lambda network, batch: network(batch["image"], batch["words"]),
        "loss": lambda outputs, batch: nn.functional.cross_entropy(outputs, batch["label"]),
    }))  # fmt: skip


def test_inputs_of_a_dict_are_the_keys_that_the_network_reads_and_targets_those_of_the_loss():
    run = run_of_dicts()
    assert list(run.inputs_of(run.batch)) == ["image", "words"]
    assert run.target_keys() == ["label"]
    assert run.model.training


def test_pairs_of_dicts_can_be_cut_and_passed_through_network_and_loss():
    run = run_of_dicts()
    inputs, targets = next(iter(Pairs(run, run.train)))
    assert isinstance(inputs, Rows)
    outputs = Wrapped(run)(inputs[:2])
    assert torch.equal(outputs, run.forward(run.batch)[:2])
    assert torch.equal(targets[:2], run.batch["label"][:2])


def test_loop_without_a_step_trains_as_usual(tmp_path):
    run = Run(tuning_case("textures_are_named").make(Folders(tmp_path, None)))
    losses = []

    def backward(loss: Tensor) -> None:
        assert run.model.head.weight.grad is None
        losses.append(float(loss.detach()))
        loss.backward()

    for _, step in zip(range(20), run.steps(backward), strict=False):
        step()
    assert len(losses) == 20
    assert losses[-1] < 0.7 * losses[0]
