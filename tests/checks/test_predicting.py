"""Predict sees what validation sees, in evaluation mode, and answers in the order and size of the targets."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.checks.small_runs import images, is_named, net, run
from unpool.checks.asking import class_of
from unpool.checks.predicting import look_answers, look_mode, look_preparation

LOOKS = {"mode": look_mode, "preparation": look_preparation, "answers": look_answers}
NAMES = ["ant", "bee", "cow"]


def prepared(picture, mean=0.4, std=0.2):
    """Bytes (H, W, C) as validation has them."""
    return (torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255 - mean) / std


class Photographs(Dataset):
    """Bytes, prepared when they are read."""

    def __init__(self):
        x, self.labels = images(24)
        self.pictures = (x.permute(0, 2, 3, 1) * 40 + 100).clamp(0, 255).byte().numpy()

    def __len__(self):
        return 24

    def raw(self, i):
        return self.pictures[i]

    def __getitem__(self, i):
        return prepared(self.pictures[i]), self.labels[i]


def asking(model, prepare=prepared, *, mode=False, answer=lambda scores: NAMES[int(scores.argmax())]):
    def predict(picture):
        model.train(mode)
        with torch.no_grad():
            return answer(model(prepare(picture)[None])[0])

    return predict


def photo_run(predict_of, **changes):
    model = net()
    return run(model=model, val=DataLoader(Photographs(), 8), predict=predict_of(model), classes=NAMES, **changes)


RIGHT = {
    "name": lambda model: asking(model),
    "number": lambda model: asking(model, answer=lambda scores: int(scores.argmax())),
    "shares": lambda model: asking(model, answer=lambda scores: scores.softmax(0)),
    "dict": lambda model: asking(model, answer=lambda s: dict(zip(NAMES, s.softmax(0).tolist(), strict=True))),
    "name and share": lambda model: asking(model, answer=lambda s: (NAMES[int(s.argmax())], float(s.max()))),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", RIGHT)
def test_right_predictions_pass(name, look):
    assert LOOKS[look](photo_run(RIGHT[name])).verdict == "pass"


@pytest.mark.parametrize("look", LOOKS)
def test_run_without_predict_is_not_judged(look):
    assert "pass predict=" in LOOKS[look](run()).about


def test_views_that_are_averaged_pass():
    def predict_of(model):
        def predict(picture):
            model.eval()
            x = prepared(picture)[None]
            with torch.no_grad():
                return NAMES[int((model(x) + model(x.flip(-1))).argmax())]

        return predict

    assert all(look(photo_run(predict_of)).verdict == "pass" for look in LOOKS.values())


def test_training_mode_is_named():
    assert is_named(look_mode(photo_run(lambda model: asking(model, mode=True))), "predict.mode")


def test_training_mode_of_a_forgotten_eval_is_named():
    def predict_of(model):
        def predict(picture):
            with torch.no_grad():
                return NAMES[int(model(prepared(picture)[None]).argmax())]

        return predict

    assert is_named(look_mode(photo_run(predict_of)), "predict.mode")


def test_answers_that_change_are_named():
    noisy = lambda model: asking(model, answer=lambda scores: scores + torch.randn(3))  # noqa: E731
    assert is_named(look_mode(photo_run(noisy)), "predict.mode")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda p: prepared(p, 0.0, 1.0), "by channel"),
        (lambda p: 255 * prepared(p, 0.0, 1.0), "by channel"),
        (lambda p: prepared(p[..., ::-1]), "reverse order"),
        (lambda p: prepared(p[:, ::-1]), "mirrored"),
        (lambda p: prepared(p).transpose(1, 2), "transposed"),
        (lambda p: prepared(np.roll(p, 3, 0)), "other pixels"),
    ],
    ids=["deviation", "bytes", "channels", "mirrored", "transposed", "shifted"],
)
def test_another_preparation_is_named_with_what_differs(prepare, said):
    finding = look_preparation(photo_run(lambda model: asking(model, prepare)))
    assert is_named(finding, "predict.preprocessing")
    assert said in finding.evidence[0]


def test_copy_of_the_network_is_named():
    finding = look_preparation(photo_run(lambda model: asking(copy.deepcopy(model))))
    assert is_named(finding, "predict.differs")


def test_names_in_another_order_are_named():
    swapped = lambda model: asking(model, answer=lambda scores: ["bee", "ant", "cow"][int(scores.argmax())])  # noqa: E731
    finding = look_answers(photo_run(swapped))
    assert is_named(finding, "predict.class_order")
    assert finding.evidence[0] == "output 0 is answered as bee; in training it is ant"


def test_numbers_from_one_are_named():
    assert is_named(
        look_answers(photo_run(lambda model: asking(model, answer=lambda s: int(s.argmax()) + 1))),
        "predict.class_order",
    )


def map_run(predict_of, size=(16, 16)):
    torch.manual_seed(0)
    model = nn.Conv2d(3, 3, 1)
    generator = torch.Generator().manual_seed(0)
    x = nn.functional.interpolate(torch.randn(16, 3, 5, 5, generator=generator), size=size, mode="bilinear")
    y = torch.randint(0, 3, (16, *size), generator=generator)
    data = list(zip(x.split(8), y.split(8), strict=True))
    return run(model=model, train=data, val=data, predict=predict_of(model))


def mapping(model, before=lambda x: x, after=lambda scores, x: scores.argmax(1)):
    def predict(image):
        with torch.no_grad():
            return after(model(before(image[None])), image)[0]

    return predict


def padded(x):
    down, across = -x.shape[2] % 8, -x.shape[3] % 8
    return nn.functional.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))


def cut_right(scores, image):
    top, left = (-image.shape[1] % 8) // 2, (-image.shape[2] % 8) // 2
    return scores.argmax(1)[:, top : top + image.shape[1], left : left + image.shape[2]]


def cut_wrong(scores, image):
    return scores.argmax(1)[:, : image.shape[1], : image.shape[2]]


def test_right_maps_pass():
    assert look_answers(map_run(lambda model: mapping(model))).verdict == "pass"
    assert look_answers(map_run(lambda model: mapping(model, padded, cut_right))).verdict == "pass"


@pytest.mark.parametrize("size", [(16, 16), (13, 14)])
def test_padding_that_is_cut_elsewhere_is_named(size):
    assert is_named(look_answers(map_run(lambda model: mapping(model, padded, cut_wrong), size)), "predict.size")


def test_mirrored_answer_that_is_not_turned_back_is_named():
    finding = look_answers(map_run(lambda model: mapping(model, lambda x: x.flip(-1))))
    assert is_named(finding, "predict.differs")
    assert "100 % would be right" in finding.evidence[0]


def test_map_with_other_numbers_is_named():
    renumbered = lambda model: mapping(model, after=lambda s, x: torch.tensor([1, 2, 0])[s.argmax(1)])  # noqa: E731
    assert is_named(look_answers(map_run(renumbered)), "predict.class_order")


def box_run(read):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    generator = torch.Generator().manual_seed(0)
    x, boxes = torch.randn(16, 3, 8, 8, generator=generator), torch.rand(16, 4, generator=generator) + 0.2

    def predict(image):
        with torch.no_grad():
            return read(model(image[None]))[0]

    loss = lambda outputs, targets: nn.functional.smooth_l1_loss(outputs, targets.log())  # noqa: E731
    data = list(zip(x.split(8), boxes.split(8), strict=True))
    return run(model=model, loss=loss, train=data, val=data, predict=predict)


def test_boxes_decoded_by_the_inverse_of_the_loss_pass():
    assert look_answers(box_run(lambda codes: codes.exp())).verdict == "pass"
    assert look_answers(box_run(lambda codes: codes.exp() * 8)).verdict == "pass"  # pixels of shares


def test_boxes_of_half_the_size_are_named():
    assert is_named(look_answers(box_run(lambda codes: codes.exp() / 2)), "predict.size")


def test_boxes_that_are_decoded_otherwise_are_named():
    assert is_named(look_answers(box_run(lambda codes: 1 + codes)), "predict.differs")


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("bee", 1),
        (2, 2),
        (np.int64(1), 1),
        (torch.tensor([0.1, 0.7, 0.2]), 1),
        ([("cow", 0.9), ("ant", 0.1)], 2),
        ("emu", "emu"),
    ],
)
def test_class_of_an_answer_is_read_from_any_usual_form(answer, number):
    assert class_of(answer, NAMES) == number


def test_asking_changes_nothing():
    setup = photo_run(lambda model: asking(model, mode=True))
    before = {name: value.clone() for name, value in setup.model.state_dict().items()}
    for look in LOOKS.values():
        look(setup)
    assert all(torch.equal(value, before[name]) for name, value in setup.model.state_dict().items())
    assert "forward" not in vars(setup.model)


class OneMap(nn.Module):
    """One score for each pixel."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.layer(x)


def one_map_run(*, around):
    """A predict that pads to a multiple of 8, at the end or on all sides, and cuts at the corner."""
    model = OneMap()
    x = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    data = [(x, (x > 0.5).float())]

    def predict(image):
        model.eval()
        h, w = image.shape[-2:]
        top, left = ((-h % 8) // 2, (-w % 8) // 2) if around else (0, 0)
        padding = (left, -w % 8 - left, top, -h % 8 - top)
        with torch.no_grad():
            return (model(nn.functional.pad(image[None], padding))[0, 0, :h, :w] > 0).long()

    loss = nn.BCEWithLogitsLoss()
    return run(model=model, loss=loss, train=data, val=data, predict=predict, form="class map")


def test_padding_on_all_sides_of_one_output_that_is_cut_at_the_corner_is_named():
    assert is_named(look_answers(one_map_run(around=True)), "predict.size")
    assert look_answers(one_map_run(around=False)).verdict == "pass"


class Residual(nn.Module):
    """Takes away what its layer gives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return x - self.layer(x)


def noise_run(answer, *, is_noise_the_target=False):
    model = Residual()
    ramp = torch.linspace(0, 1, 24)[None, None, None].expand(8, 1, 24, 24)
    noise = 0.1 * torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0))
    data = [(ramp + noise, noise if is_noise_the_target else ramp)]

    def predict(image):
        model.eval()
        with torch.no_grad():
            return answer(model, image[None])[0]

    return run(model=model, loss=nn.MSELoss(), train=data, val=data, predict=predict, form="picture")


def test_noise_that_is_returned_for_the_picture_is_named():
    assert is_named(look_answers(noise_run(lambda model, x: model.layer(x).clamp(0, 1))), "predict.differs")
    assert look_answers(noise_run(lambda model, x: model(x).clamp(0, 1))).verdict != "fail"


def test_picture_without_the_noise_that_the_network_gives_is_right():
    finding = look_answers(noise_run(lambda model, x: x - model(x), is_noise_the_target=True))
    assert finding.verdict != "fail"


class Framed(Dataset):
    """Bytes with one box each."""

    def __init__(self):
        self.pictures = torch.randint(0, 255, (8, 12, 12, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()

    def __len__(self):
        return 8

    def raw(self, i):
        return self.pictures[i]

    def __getitem__(self, i):
        return prepared(self.pictures[i]), {"boxes": torch.tensor([[2.0, 3.0, 7.0, 9.0 + i % 3]])}


def framed_run(answer):
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    collate = lambda some: (torch.stack([x for x, _ in some]), [target for _, target in some])  # noqa: E731
    data = DataLoader(Framed(), 4, collate_fn=collate)
    loss = lambda outputs, targets: (outputs - torch.cat([one["boxes"] for one in targets])).square().sum()  # noqa: E731

    def predict(picture):
        model.eval()
        small = nn.functional.interpolate(prepared(picture)[None], (12, 12))
        with torch.no_grad():
            return {"boxes": answer(model(small), len(picture) / 12)}

    return run(model=model, loss=loss, train=data, val=data, predict=predict, form="things")


def test_boxes_that_do_not_grow_with_the_picture_are_named():
    finding = look_answers(framed_run(lambda boxes, scale: boxes))
    assert is_named(finding, "predict.size")
    assert look_answers(framed_run(lambda boxes, scale: boxes * scale)).verdict == "pass"
    assert look_answers(framed_run(lambda boxes, scale: boxes / 12)).verdict == "not applicable"
