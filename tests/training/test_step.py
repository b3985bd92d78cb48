import torch
from torch import nn

from tests.training.toy_run import Task
from unpool.training.step import Step, to_float32
from unpool.types import Term


def test_outputs_reach_the_loss_in_float32():
    step = Step(nn.Linear(4, 2), Task(), precision="bfloat16", device=torch.device("cpu"))
    assert step.output({"image": torch.randn(2, 4)}).dtype == torch.float32
    assert step.model.weight.dtype == torch.float32


def test_float32_reaches_into_tuples_lists_and_dicts():
    half, count = torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.int64)
    found = to_float32({"a": (half, [half]), "b": Term(half, count)})
    assert found["a"][0].dtype == found["a"][1][0].dtype == found["b"].sum.dtype == torch.float32
    assert found["b"].count.dtype == torch.int64
    assert isinstance(found["b"], Term)


def test_network_runs_in_the_precision_asked_for():
    seen = []
    for precision in ("float32", "bfloat16"):
        model = nn.Linear(4, 2)
        model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        Step(model, Task(), precision=precision, device=torch.device("cpu")).output({"image": torch.randn(2, 4)})
    assert seen == [torch.float32, torch.bfloat16]
