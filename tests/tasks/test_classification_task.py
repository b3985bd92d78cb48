from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import nn

from unpool.errors import DataError, RecipeError
from unpool.tasks import TASKS
from unpool.tasks.auxiliary import heads, main_head
from unpool.tasks.classification import Classification
from unpool.training.step import total_loss
from unpool.types import Auxiliary, DataInfo

INFO = DataInfo(
    classes=("across", "down", "none"), keypoints=("left_shoulder", "right_hip"), limbs=((0, 1),), words=("a", "b")
)


def test_table_of_tasks_says_what_each_needs_and_what_is_best():
    for task in (row(INFO) for row in TASKS.values()):
        assert "image" in task.needs
        assert task.best in task.metric().compute()


def test_classification_loss_is_that_of_the_mean_reduction():
    torch.manual_seed(0)
    logits, label = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    term = Classification(INFO, label_smoothing=0.1).loss(logits, {"label": label})["cross_entropy"]
    expected = nn.functional.cross_entropy(logits, label, label_smoothing=0.1)
    assert (term.sum / term.count).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("wrong", [3, -1, -100])
def test_classification_loss_names_the_sample_whose_label_is_no_class(wrong):
    batch = {"label": torch.tensor([0, wrong]), "index": torch.tensor([70, 71])}
    with pytest.raises(DataError, match=rf"sample 71: label \[{wrong}\], allowed are 0 to 2"):
        Classification(INFO).loss(torch.zeros(2, 3), batch)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2, 3, 1)])
def test_classification_loss_refuses_logits_that_do_not_fit(shape):
    with pytest.raises(RecipeError, match=r"where \(2, 3\) \(images, classes\) were due"):
        Classification(INFO).loss(torch.zeros(shape), {"label": torch.tensor([0, 1])})


def heads_of(*tensors):
    return Auxiliary(tensors[0], tuple(tensors[1:]))


@pytest.mark.parametrize("weight", [0.3, 0.0, 2.0])
def test_classification_loss_of_auxiliary_heads_is_added_with_its_weight(weight):
    torch.manual_seed(0)
    parts, label = torch.randn(3, 5, 3), torch.tensor([0, 1, 2, 0, 1])
    task = Classification(INFO, label_smoothing=0.1, auxiliary_weight=weight)
    terms = task.loss(heads_of(*parts), {"label": label})
    assert list(terms) == ["cross_entropy", "auxiliary_1", "auxiliary_2"]
    main, first, second = (nn.functional.cross_entropy(part, label, label_smoothing=0.1) for part in parts)
    assert total_loss(terms).item() == pytest.approx((main + weight * (first + second)).item(), rel=1e-5)


def test_classification_weighs_auxiliary_heads_as_googlenet_does():
    terms = Classification(INFO).loss(heads_of(*torch.zeros(2, 1, 3)), {"label": torch.tensor([0])})
    assert [term.weight for term in terms.values()] == [1.0, 0.3]


def test_classification_loss_refuses_auxiliary_logits_that_do_not_fit():
    with pytest.raises(RecipeError, match=r"gives \(2, 4\) where \(2, 3\)"):
        Classification(INFO).loss(heads_of(torch.zeros(2, 3), torch.zeros(2, 4)), {"label": torch.tensor([0, 1])})


def test_classification_answers_by_the_main_head():
    main, other = torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[9.0, 0.0, 0.0]])
    task = Classification(INFO)
    assert task.decode(heads_of(main, other), {})["label"].tolist() == [1]


def test_classification_leaves_auxiliary_heads_out_of_what_is_no_training():
    class Heads(nn.Module):
        def forward(self, image):
            return heads_of(image, image + 1)

    task, batch = Classification(INFO), {"image": torch.zeros(2, 3)}
    assert isinstance(task.forward(Heads().train(), batch), Auxiliary)
    assert torch.equal(task.forward(Heads().eval(), batch), batch["image"])


def test_classification_predicts_classes_best_first_with_probabilities():
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    found = Classification(INFO).decode(logits, {})
    assert found["label"].tolist() == [1]
    assert found["top_labels"].tolist() == [[1, 2, 0]]
    assert found["top_scores"][0].tolist() == pytest.approx(logits.softmax(1)[0, [1, 2, 0]].tolist())
    assert found["score"].tolist() == found["top_scores"][:, 0].tolist()


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
def test_of_equal_classes_the_lower_is_first(classes):
    task = Classification(DataInfo(classes=tuple(map(str, range(classes)))))
    logits = torch.zeros(4, classes)
    logits[1, -2:] = 1.0  # two that are equal before all others
    logits[2] = logits[2].half() + 0.25
    logits[3, 0] = -1.0
    first = [classes - 2, classes - 1]
    answer = task.decode(logits, {})
    expected = [list(range(classes)), first + list(range(classes - 2)), list(range(classes)), [*range(1, classes), 0]]
    assert answer["top_labels"].tolist() == [row[:5] for row in expected]
    assert answer["label"].tolist() == [row[0] for row in expected]
    scores = task.metric()
    scores.update(answer, {"label": torch.tensor([min(4, classes - 1)] * 4)})
    assert scores.compute()["top5"] == (0.75 if classes == 1000 or classes == 7 else 1.0)


def test_classification_settings_that_cannot_work_are_refused():
    with pytest.raises(RecipeError, match=r"label_smoothing is 1\.0"):
        Classification(INFO, label_smoothing=1.0)
    with pytest.raises(RecipeError, match=r"auxiliary_weight is -0\.1; expected a number from 0 to 1000000"):
        Classification(INFO, auxiliary_weight=-0.1)
    with pytest.raises(RecipeError, match="class names"):
        Classification(DataInfo())


def test_classification_draws_any_class_name():
    task = Classification(DataInfo(classes=("\u00e9l\u00e9phant \U0001f418", "<script>")))
    for label in (0, 1):
        drawn = task.draw(torch.zeros(1, 28, 28, dtype=torch.uint8), {"label": label, "score": 0.5})
        assert drawn.shape[0] == 3
        assert drawn.any()


@pytest.fixture
def one_thread():
    """A team of threads for so small a network mostly waits for its slowest member."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_classification_learns_the_direction_of_stripes():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    task = Classification(INFO)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 8e-3)
    for _ in range(50):
        batch = stripes(16, generator)
        (term,) = task.loss(task.forward(network, batch), batch).values()
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        optimizer.step()
    metric = task.metric()
    with torch.inference_mode():
        batch = stripes(256, generator)
        metric.update(task.decode(task.forward(network, batch), batch), batch)
    assert metric.compute()["top1"] > 0.9


def stripes(number, generator):
    """Stripes across, down, or noise alone, 16 x 16, of any phase."""
    label = torch.randint(0, 3, (number,), generator=generator)
    wave = torch.sin(torch.arange(16) * 1.2 + 6.3 * torch.rand(number, 1, generator=generator))
    across, down = wave[:, None, :, None].expand(-1, 1, 16, 16), wave[:, None, None, :].expand(-1, 1, 16, 16)
    clean = torch.stack((across, down, torch.zeros_like(down)), 1)[torch.arange(number), label]
    return {"image": clean + 0.5 * torch.randn(number, 1, 16, 16, generator=generator), "label": label}


class Named(NamedTuple):
    logits: torch.Tensor
    aux_logits: torch.Tensor | None


@pytest.mark.parametrize("kind", [lambda **values: values, lambda **values: OrderedDict(values)])
@pytest.mark.parametrize("name", ["logits", "out"])
def test_heads_are_known_by_their_names(kind, name):
    main, other = torch.zeros(2, 3), torch.ones(2, 3)
    output = heads(kind(features=other, aux2=other + 1, aux1=other, **{name: main}))
    assert output.logits is main
    assert [int(one.max()) for one in output.auxiliary] == [1, 2]
    assert main_head(kind(**{name: main})) is main


def test_heads_of_a_named_tuple_are_those_that_are_tensors():
    main = torch.zeros(2, 3)
    assert heads(Named(main, None)) is main
    assert heads(Named(main, main + 1)).auxiliary[0].max() == 1
    terms = Classification(INFO).loss(Named(main, main + 1), {"label": torch.tensor([0, 1])})
    assert list(terms) == ["cross_entropy", "auxiliary_1"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"scores": torch.zeros(2, 3)}, "gives a dict of scores: return a tensor"),
        ({"out": torch.zeros(2, 3), "logits": torch.zeros(2, 3)}, "a dict of out, logits"),
        ((torch.zeros(2, 3), torch.zeros(2, 3)), "gives a tuple: return"),
        (None, "gives a NoneType"),
    ],
)
def test_an_output_whose_main_head_is_not_known_is_refused(output, said):
    with pytest.raises(RecipeError, match=said):
        Classification(INFO).forward(Always(output).eval(), {"image": torch.zeros(2, 3)})


class Always(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, image):
        return self.output


def test_gamma_that_the_loss_does_not_read_is_refused():
    with pytest.raises(RecipeError, match=r"task\.focal_gamma is 5\.0, which task\.loss cross_entropy does not read"):
        Classification(INFO, focal_gamma=5.0)
    assert Classification(INFO, loss="focal", focal_gamma=5.0).focal_gamma == 5
