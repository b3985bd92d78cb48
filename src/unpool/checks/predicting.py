"""Whether predict sees what validation sees, in evaluation mode, and answers in the order and size of the targets."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unpool.checks.asking import Asked, Picture, array_of, ask, class_of, names_of, pictures
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.ideals import target_of
from unpool.checks.liked import best_outputs
from unpool.checks.predicted_things import of_boxes, of_noise
from unpool.checks.setup import Form, Setup
from unpool.checks.source import split
from unpool.tracing.foreign import foreign_code

PICTURES = 6  # that predict is asked about
SAME, LIKE = 0.02, 0.05  # mean difference, in standard deviations, of pictures that are the same, or decoded otherwise
NO_PREDICT = "how the network is asked is not known: pass predict=, a function of one picture, and val="
PLAIN = 0.99  # share of the pixels that a plain threshold answers as put in
CUT = (5, 3)  # rows and columns that another size has less


def look_mode(setup: Setup) -> Finding:
    """Looks at the network's mode while predict asks it, and asks twice."""
    if setup.predict is None or not (shown := pictures(setup, 1)):
        return not_applicable(NO_PREDICT)
    asked = ask(setup, shown[0].asked)
    if asked.training:
        return Finding(
            "fail",
            f"predict runs in training mode: {len(asked.training)} layers of dropout or batch norm are in "
            "training mode",
            float(len(asked.training)),
            "predict.mode",
            "call model.eval() in predict, before the network is asked; torch.no_grad() does not change the mode",
            asked.training[:8],
        )
    again = ask(setup, shown[0].asked, seed=1)
    if not _is_same(asked.answer, again.answer):
        cure = "draw no random numbers in predict: no augmentation, no dropout, no noise"
        return Finding("fail", "predict answers twice otherwise about one picture", 1.0, "predict.mode", cure)
    return passed("predict runs in evaluation mode, and answers twice alike")


def _is_same(one: Any, other: Any) -> bool:
    first, second = array_of(one), array_of(other)
    if first is None or second is None:
        return repr(one) == repr(other)
    return first.shape == second.shape and torch.allclose(first.double(), second.double(), rtol=1e-4, atol=1e-5)


def look_preparation(setup: Setup) -> Finding:
    """Compares what reaches the network in predict with what validation gives for the same picture."""
    if setup.predict is None or not (shown := pictures(setup, PICTURES)):
        return not_applicable(NO_PREDICT)
    asked = [ask(setup, picture.asked) for picture in shown]
    if not all(one.inputs for one in asked):
        return _not_asked(setup, shown, asked)
    gaps = [_gap(one, picture.image) for one, picture in zip(asked, shown, strict=True)]
    known = [gap for gap in gaps if gap is not None]
    if not known:
        sizes = f"{tuple(asked[0].inputs[0].shape[-2:])} in predict, {tuple(shown[0].image.shape[-2:])} in validation"
        return not_applicable(f"the network sees pictures of other sizes: {sizes}")
    worst = max(range(len(shown)), key=lambda i: gaps[i] or 0.0)
    gap = gaps[worst] or 0.0
    about = (
        f"of {len(known)} pictures, what the network sees in predict differs from validation by {gap:.2g} deviations"
    )
    if gap <= SAME:
        return passed(about, gap)
    seen, expected = asked[worst].inputs[0].reshape(shown[worst].image.shape), shown[worst].image
    return Finding(
        "fail" if gap > LIKE else "warn",
        about,
        gap,
        "predict.preprocessing",
        "prepare pictures in predict by the very function that validation uses",
        (_difference(seen, expected),),
    )


def _gap(asked: Asked, image: Tensor) -> float | None:
    """The smallest mean difference of an input of the network, in deviations; None where none has the image's size."""
    same = [one.reshape(image.shape) for one in asked.inputs if one.numel() == image.numel()]
    deviation = float(image.float().std()) or 1.0
    return min((float((one.float() - image.float()).abs().mean()) / deviation for one in same), default=None)


def _difference(seen: Tensor, expected: Tensor) -> str:
    """What would make one picture of the other, where that is simple."""
    flips: dict[str, Callable[[Tensor], Tensor]] = {
        "with its channels in the reverse order": lambda x: x.flip(0),
        "mirrored": lambda x: x.flip(-1),
        "upside down": lambda x: x.flip(-2),
        "transposed": lambda x: x.transpose(-1, -2),
    }
    for name, change in flips.items():
        other = change(seen)
        if other.shape == expected.shape and float((other - expected).abs().mean()) < SAME * float(expected.std()):
            return f"predict shows the picture {name}"
    lines = []
    for one, other in zip(seen.flatten(1).double(), expected.flatten(1).double(), strict=True):
        scale = float(other.std() / one.std()) if float(one.std()) > 0 else 0.0
        shift = float(other.mean() - scale * one.mean())
        if float((scale * one + shift - other).abs().mean()) > SAME * float(other.std()):
            return "other pixels: another way to resize, crop or decode"
        lines.append(f"{scale:.4g} x {'+' if shift >= 0 else '-'} {abs(shift):.4g}")
    return f"validation's picture is predict's by channel: {', '.join(lines)} (mean, deviation or range differ)"


def _not_asked(setup: Setup, shown: list[Picture], asked: list[Asked]) -> Finding:
    """Judges a predict that does not ask the network of the run: its answers should follow this network's weights."""
    with setup.trying(), torch.no_grad():
        for weight in setup.model.parameters():
            weight.mul_(-1.5)
        others = [ask(setup, picture.asked).answer for picture in shown]
    if any(not _is_same(one.answer, other) for one, other in zip(asked, others, strict=True)):
        return not_applicable("predict does not call the network itself")
    return Finding(
        "fail",
        "predict does not ask the network that is trained: its answers do not change with the weights",
        0.0,
        "predict.differs",
        "ask the trained network, or load its weights when the training has ended; a copy does not follow",
    )


def look_answers(setup: Setup) -> Finding | list[Finding]:
    """Puts known outputs in the place of the network's, and compares predict's answers with what they mean."""
    if setup.predict is None or not (shown := pictures(setup, PICTURES)):
        return not_applicable(NO_PREDICT)
    form = setup.target_form
    noise = of_noise(setup, shown) if form == "picture" else None
    if noise is not None:
        return noise
    if not ask(setup, shown[0].asked).inputs:
        return not_applicable("predict does not call the network itself")
    with setup.trying(training=False), torch.no_grad():
        outputs = setup.outputs(setup.batches(1)[0])
    if not isinstance(outputs, Tensor):
        return not_applicable(f"the network gives a {type(outputs).__name__}, not one tensor")
    return _by_form(setup, shown, outputs, form)


def _by_form(setup: Setup, shown: list[Picture], outputs: Tensor, form: Form) -> Finding:
    if form == "class" and outputs.dim() == 2 and outputs.shape[1] > 1:
        return _classes(setup, shown[0], outputs)
    if form == "class map" and outputs.dim() == 4:
        return _maps(setup, shown[0], outputs) if outputs.shape[1] > 1 else _signs(setup, shown[0])
    if form == "things" and isinstance(split(setup.train.batches(1)[0])[1], list):
        return of_boxes(setup, shown, outputs)
    if outputs.dim() in (2, 3) and form in ("numbers", "points", "things"):
        return _numbers(setup, shown, outputs)
    return not_applicable("no outputs are known whose answer is certain")


def _classes(setup: Setup, picture: Picture, outputs: Tensor) -> Finding:
    """Outputs that are highest at each class in turn."""
    number, names = outputs.shape[1], names_of(setup)
    answers = []
    for one in range(min(number, 100)):
        hot = 12.0 * F.one_hot(torch.tensor([one]), number).to(outputs.dtype)
        answers.append(class_of(ask(setup, picture.asked, standin=_same(hot)).answer, names))
    wrong = [f"output {i} is answered as {_named(answer, names)}" for i, answer in enumerate(answers) if answer != i]
    if None in answers or (len(set(answers)) == 1 and number > 1):
        return not_applicable("the answers name no class")
    if any(isinstance(answer, str) for answer in answers) and not names:
        return not_applicable("the names of the classes are not known: pass classes=")
    if not wrong:
        return passed(f"the highest of {number} outputs is answered as its class, for each of them", 0.0)
    return Finding(
        "fail",
        f"predict names {len(wrong)} of {len(answers)} classes otherwise than training does",
        float(len(wrong)),
        "predict.class_order",
        "keep the list of classes with the weights, and use that list in predict",
        tuple(f"{text}; in training it is {_named(int(text.split()[1]), names)}" for text in wrong[:8]),
    )


def _named(answer: int | str | None, names: Any) -> str:
    return str(names[answer]) if isinstance(answer, int) and 0 <= answer < len(names) else str(answer)


def _same(outputs: Tensor) -> Callable[..., Tensor]:
    """A stand-in that gives the same outputs for every image of a batch."""
    return lambda inputs, *_, **__: outputs.expand(len(inputs), *outputs.shape[1:]).clone()


def _maps(setup: Setup, picture: Picture, outputs: Tensor) -> Finding:
    """A stand-in that names the brightness of each pixel: it turns, shifts and is cut with the picture."""
    number = outputs.shape[1]
    grey = picture.image.float().mean(0)
    levels = torch.quantile(grey.flatten()[:10_000], torch.linspace(0.05, 0.95, number))

    def standin(inputs: Tensor, *_: Any, **__: Any) -> Tensor:
        return -(inputs.float().mean(1, keepdim=True) - levels.reshape(1, -1, 1, 1)).abs() * 20

    asked = ask(setup, picture.asked, standin=standin)
    answer, expected = array_of(asked.answer), standin(picture.image[None]).argmax(1)[0]
    if answer is None or answer.squeeze().shape != expected.shape:
        return not_applicable("predict's answer is no map of the size that validation has")
    right = float((answer.squeeze() == expected).float().mean())
    if right < 0.95:
        is_resized = asked.inputs[0].shape[-2:] != expected.shape
        return _wrong_map(answer.squeeze(), expected, right, is_resized=is_resized)
    return _other_size(setup, picture, standin, lambda scores: scores.argmax(1)[0]) or passed(
        f"{100 * right:.0f} % of the pixels are answered as put in", right
    )


def _signs(setup: Setup, picture: Picture) -> Finding:
    """A stand-in of one output that says yes where a pixel is bright, as a logit or as a probability.

    Only a predict that answers each pixel as put in is asked about another size.
    """
    border = picture.image.float().mean(0).median()
    for is_share in (False, True):

        def standin(inputs: Tensor, *_: Any, is_share: bool = is_share, **__: Any) -> Tensor:
            scores = 20 * (inputs.float().mean(1, keepdim=True) - border)
            return scores.sigmoid() if is_share else scores

        def said(scores: Tensor, limit: float = 0.5 * is_share) -> Tensor:
            return (scores[0, 0] > limit).long()

        expected = said(standin(picture.image[None]))
        answer = array_of(ask(setup, picture.asked, standin=standin).answer)
        if answer is None or answer.squeeze().shape != expected.shape:
            return not_applicable("predict's answer is no map of the size that validation has")
        right = float((answer.squeeze() == expected).float().mean())
        if right >= PLAIN:
            about = f"{100 * right:.0f} % of the pixels are answered as put in"
            return _other_size(setup, picture, standin, said) or passed(about, right)
    return not_applicable("predict does more with one output than compare it with a threshold")


def _wrong_map(answer: Tensor, expected: Tensor, right: float, *, is_resized: bool) -> Finding:
    """Tells classes in another order from positions that differ."""
    pairs = torch.stack([expected.flatten(), answer.flatten().long()]).unique(dim=1)
    if pairs.shape[1] == len(expected.unique()):
        about = f"predict's map has other numbers for {len(expected.unique())} classes: one for each, in another order"
        cure = "number the classes in predict as the masks of training do"
        return Finding("fail", about, right, "predict.class_order", cure)
    if is_resized:
        return _misplaced(f"predict pads or resizes a picture of {_size(expected)}, and answers", right)
    mirrored = float((answer.flip(-1) == expected).float().mean())
    about = f"predict answers {100 * right:.0f} % of the pixels as the outputs put in say"
    return Finding(
        "fail",
        about,
        right,
        "predict.differs",
        "turn back the answers of mirrored or shifted views before they are averaged, and do after the network "
        "in predict "
        "what evaluation does",
        (f"mirrored, {100 * mirrored:.0f} % would be right",),
    )


def _other_size(
    setup: Setup, picture: Picture, standin: Callable[..., Tensor], said: Callable[[Tensor], Tensor]
) -> Finding | None:
    """A picture that is cut by some rows and columns, where predict takes images as they are."""
    if picture.is_raw or not isinstance(picture.asked, Tensor):
        return None
    height, width = (size - less for size, less in zip(picture.image.shape[-2:], CUT, strict=True))
    cut = picture.image[..., :height, :width].contiguous()
    answer = None
    with foreign_code() as failure:
        answer = array_of(ask(setup, cut, standin=standin).answer)
    expected = said(standin(cut[None]))
    if failure or answer is None:
        return None
    is_sized = answer.squeeze().shape == expected.shape
    right = float((answer.squeeze() == expected).float().mean()) if is_sized else 0.0
    if right >= 0.95:
        return None
    if is_sized:
        return _misplaced(f"of a picture of {_size(expected)}, predict answers", right)
    return _misplaced(f"a picture of {_size(expected)} gets a map of {_size(answer.squeeze())}:", right)


def _size(image: Tensor) -> str:
    return " x ".join(map(str, image.shape[-2:])) + " pixels"


def _misplaced(about: str, right: float) -> Finding:
    return Finding(
        "fail",
        f"{about} {100 * right:.0f} % of the pixels as the outputs put in say",
        right,
        "predict.size",
        "cut the answer where the padding was added, and bring it back to the size of the picture",
    )


def _numbers(setup: Setup, shown: list[Picture], outputs: Tensor) -> Finding:
    """Outputs that have the smallest loss for a sample, whose answer must be its target."""
    if setup.loss is None:
        return not_applicable("the best outputs are not known: pass loss=")
    ratios, gaps = [], []
    for picture in shown[:3]:
        batch = torch.utils.data.default_collate([_sample(picture)])
        best = best_outputs(setup, batch, (1, *outputs.shape[1:]))
        target = _numbers_of(picture.target)
        answer = None if best is None else array_of(ask(setup, picture.asked, standin=_same(best)).answer)
        if target is None or answer is None or answer.numel() != target.numel():
            return not_applicable("predict's answer, or the best outputs, are not comparable with the targets")
        answer, target = answer.flatten().double(), target.flatten().double()
        ratios.append(float((answer * target).sum() / target.square().sum()))
        gaps.append(float((answer - ratios[-1] * target).norm() / answer.norm().clamp(min=1e-12)))
    ratio, size = ratios[0], max(shown[0].image.shape[-2:])
    about = f"outputs of the smallest loss are answered as {ratio:.3g} times the targets"
    if max(gaps) > LIKE:
        cure = "decode outputs in predict by the inverse of the encoding in the loss"
        return Finding("fail", f"{about}, with a rest of {max(gaps):.2g}", max(gaps), "predict.differs", cure)
    if min(abs(ratio / one - 1) for one in (1.0, size, 1 / size)) < LIKE:
        return passed(about, ratio)
    cure = "bring positions to pixels of the picture once: undo the resizing, and decode by the scale of the loss"
    return Finding("fail", f"{about}, in each of {len(ratios)} pictures", ratio, "predict.size", cure)


def _numbers_of(target: Any) -> Tensor | None:
    value = target_of(target)
    return value if value is not None and value.is_floating_point() else None


def _sample(picture: Picture) -> Any:
    return picture.target if isinstance(picture.target, dict) else (picture.image, picture.target)


CHECKS = (
    Check(
        "predict runs in evaluation mode",
        "predict",
        {"predict.mode": "call model.eval() in predict"},
        "Answers change from call to call, or with what was asked before.",
        "The mode of dropout and batch norm while predict asks the network, which was in training mode before; and two "
        "answers about one picture.",
        "A failure where one of them is in training mode, or the answers differ.",
        "Definition.",
        look_mode,
    ),
    Check(
        "predict prepares pictures as validation does",
        "predict",
        {
            "predict.preprocessing": "prepare pictures in predict by the function that validation uses",
            "predict.differs": "ask the network that was trained",
        },
        "The score is high in validation, and answers about the very same pictures are poor.",
        f"What reaches the network in predict, for {PICTURES} pictures of validation, against what validation gives.",
        f"A failure above {LIKE} standard deviations of the picture, in the mean over its values; a warning "
        f"above {SAME}.",
        "Arithmetic: the same function gives the same values; two decoders of JPEG differ by about 0.01.",
        look_preparation,
    ),
    Check(
        "predict answers what the outputs mean",
        "predict",
        {
            "predict.class_order": "keep the list of classes with the weights",
            "predict.size": "cut and resize the answer as the picture was padded and resized",
            "predict.differs": "do after the network what evaluation does",
        },
        "Names are exchanged, or maps and boxes are shifted, mirrored or of another size.",
        "Known outputs are put in the place of the network's: the highest at each class in turn; the brightness "
        "of each "
        "pixel, also of a picture cut by some pixels; the outputs of smallest loss, also for a picture of twice the "
        "size. An answer that is a picture is compared with what the network takes away.",
        "A failure where the answer is another class, less than 95 % of the pixels agree, or numbers are "
        "another multiple "
        "of the target than 1 or the picture's size; where boxes in pixels stay as they are for the larger picture; "
        "where the answer is noise, and the target the picture without it.",
        "Arithmetic.",
        look_answers,
    ),
)
