import torch
from torch import nn

from tests.training.toy_run import Task
from unpool.tasks.one_forward import to_float32
from unpool.training.step import Step
from unpool.types import Term

BATCH = {"image": torch.zeros(2, 4), "label": torch.tensor([0, 1])}


def test_outputs_reach_loss_and_answer_in_float32_and_out_of_autocast():
    class Watching(Task):
        def loss(self, output, batch):
            seen.append((output.dtype, torch.is_autocast_enabled("cpu")))
            return super().loss(output, batch)

        def decode(self, output, inputs):
            seen.append((output.dtype, torch.is_autocast_enabled("cpu")))
            return super().decode(output, inputs)

    seen = []
    step = Step(nn.Linear(4, 2), Watching(), precision="bfloat16", device=torch.device("cpu"))
    step(BATCH)
    step.evaluated(BATCH)
    assert seen == 3 * [(torch.float32, False)]
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
        Step(model, Task(), precision=precision, device=torch.device("cpu"))(BATCH)
    assert seen == [torch.float32, torch.bfloat16]
