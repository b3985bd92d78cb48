"""Linear classifiers on features that are fixed: in closed form, by a support vector machine, or by gradient descent.

The penalty is chosen by cross-validation among the training features alone. Features are brought to zero mean, and all
of them by one factor to a mean square of 1, of the training features: the deviation of each is noise where images are
few (dividing by it cost 11 points on EfficientNet-Lite0's features of six images of ants and six of bees). The
classifier is returned for features as they are. `fit_machine` and `fit_ridge`, for regions, have their penalty by their
sources and take features as they are.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.types import Activation

FOLDS = 5
By = Literal["ridge", "svm", "sgd"]
_STEPS, _BATCH, _RATE, _MOMENTUM = 1000, 64, 0.05, 0.9  # of gradient descent
_SCALES = torch.logspace(-2, 2, 81, dtype=torch.float64)
Solution = tuple[Tensor, Tensor]  # weight (N, d) and bias (N,)


class LinearFit(NamedTuple):
    """A linear classifier: `features @ weight.T + bias` are logits.

    Attributes:
        weight: (N, d) float32.
        bias: (N,) float32.
        penalty: on the squared weights of normalised features, beside the mean loss of an image: "ridge" has the sum
            of the squared errors of all classes and the penalty times the squares, "svm" and "sgd" the sum of the
            losses of all classes, or the cross-entropy, and half of the penalty times the squares.
        accuracy: in cross-validation, by penalty; empty where a class has one image only, and nothing was chosen.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    accuracy: dict[float, float]


def fit_linear(
    features: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    by: By = "ridge",
    penalties: Sequence[float] | None = None,
    activation: Activation = "softmax",
    seed: int = 0,
) -> LinearFit:
    """Fits a linear classifier; its logits are scaled so that their probabilities fit the images left out.

    Args:
        features: (n, d) of the training images.
        labels: (n,) their classes.
        num_classes: N.
        by: "ridge", least squares on +1 and -1 in closed form; "svm", squared hinge loss of each class against the
            rest (Fan et al. 2008, LIBLINEAR, problem L2); "sgd", cross-entropy by stochastic gradient descent.
        penalties: to choose among; None takes those of the method.
        activation: what makes probabilities of the logits.
        seed: of the folds, and of the order of "sgd".

    Raises:
        RecipeError: fewer than two classes have images.

    Example:
        >>> features = torch.tensor([[0.0, 5.0], [1.0, 5.0], [8.0, 5.0], [9.0, 5.0]])
        >>> fit = fit_linear(features, torch.tensor([0, 0, 1, 1]), num_classes=2)
        >>> (features @ fit.weight.T + fit.bias).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    counts = labels.bincount(minlength=num_classes)
    if int((counts > 0).sum()) < 2:
        raise RecipeError(f"{int((counts > 0).sum())} of {num_classes} classes have images: a classifier needs two")
    solve, usual = METHODS[by]
    values, chosen = features.double(), sorted(penalties or usual, reverse=True)
    folds = min(FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        middle = chosen[len(chosen) // 2]
        ((weight, bias),) = _solved(solve, values, labels, num_classes, [middle], seed)
        return LinearFit(weight.float(), bias.float(), middle, {})
    left_out = [torch.empty(len(labels), num_classes, dtype=torch.float64) for _ in chosen]
    fold_of = _folds(labels, folds, seed)
    for fold in range(folds):
        is_kept = fold_of != fold
        solutions = _solved(solve, values[is_kept], labels[is_kept], num_classes, chosen, seed)
        for scores, (weight, bias) in zip(left_out, solutions, strict=True):
            scores[~is_kept] = values[~is_kept] @ weight.T + bias
    shares = [float((scores.argmax(1) == labels).double().mean()) for scores in left_out]
    best = shares.index(max(shares))  # of equal ones the strongest penalty
    scale = _scale(left_out[best], labels, activation)
    ((weight, bias),) = _solved(solve, values, labels, num_classes, [chosen[best]], seed)
    return LinearFit(
        (scale * weight).float(), (scale * bias).float(), chosen[best], dict(zip(chosen, shares, strict=True))
    )


def fit_machine(features: Tensor, is_positive: Tensor, *, cost: float) -> Solution:
    """Weight (d,) and bias () of a support vector machine of one class: squared hinge loss, no penalty on the bias.

    Args:
        features: (n, d), used as they are.
        is_positive: (n,) bool; both kinds are there.
        cost: of all losses together, beside half the squared weights (LIBLINEAR's C).

    Example:
        >>> weight, bias = fit_machine(torch.tensor([[0.0], [4.0]]), torch.tensor([False, True]), cost=1.0)
        >>> [round(float(value), 3) for value in (weight[0], bias)]
        [0.471, -0.941]
    """
    targets = (2 * is_positive.double() - 1)[:, None]
    ((weight, bias),) = _svm(features.double(), targets, [1 / (cost * len(features))], 0)
    return weight[0].float(), bias[0].float()


def fit_ridge(features: Tensor, targets: Tensor, *, strength: float) -> Solution:
    """Weight (N, d) and bias (N,) of linear regression, in closed form; no penalty on the bias.

    Args:
        features: (n, d), used as they are.
        targets: (n, N).
        strength: of the penalty on the squared weights, beside the sum of squared errors.

    Example:
        >>> weight, bias = fit_ridge(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [5.0]]), strength=2.0)
        >>> weight.tolist(), bias.tolist()
        ([[1.0]], [2.0])
    """
    mean, middle = features.double().mean(0), targets.double().mean(0)
    x, y = features.double() - mean, targets.double() - middle
    is_tall = x.shape[1] <= x.shape[0]
    gram = x.T @ x if is_tall else x @ x.T
    gram.diagonal().add_(strength)
    factor = torch.linalg.cholesky(gram)
    weight = (torch.cholesky_solve(x.T @ y, factor) if is_tall else x.T @ torch.cholesky_solve(y, factor)).T
    return weight.float(), (middle - weight @ mean).float()


Solve = Callable[[Tensor, Tensor, Sequence[float], int], list[Solution]]


def _solved(
    solve: Solve, features: Tensor, labels: Tensor, num_classes: int, penalties: Sequence[float], seed: int
) -> list[Solution]:
    """Solutions for features as they are, by those of normalised features."""
    mean = features.mean(0)
    std = (features - mean).square().mean().sqrt().clamp_min(1e-12)
    targets = 2 * nn.functional.one_hot(labels, num_classes).double() - 1
    solutions = solve((features - mean) / std, targets, penalties, seed)
    return [(weight / std, bias - (weight / std) @ mean) for weight, bias in solutions]


def _folds(labels: Tensor, folds: int, seed: int) -> Tensor:
    """(n,) the fold of each image; each class is spread evenly."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    fold_of = torch.empty_like(labels)
    fold_of[order] = torch.arange(len(labels)) % folds
    return fold_of


def _scale(scores: Tensor, labels: Tensor, activation: Activation) -> float:
    """The factor by which scores become the logits of the likeliest probabilities."""
    scales = _SCALES / scores.std().clamp_min(1e-12)  # under a strong penalty scores are tiny
    if activation == "sigmoid":
        targets = nn.functional.one_hot(labels, scores.shape[1]).to(scores)
        losses = [nn.functional.binary_cross_entropy_with_logits(scale * scores, targets) for scale in scales]
    else:
        losses = [nn.functional.cross_entropy(scale * scores, labels) for scale in scales]
    return float(scales[torch.stack(losses).argmin()])


def _ridge(features: Tensor, targets: Tensor, penalties: Sequence[float], seed: int) -> list[Solution]:
    count, width = features.shape
    bias = targets.mean(0)
    centred = targets - bias
    if width <= count:
        values, axes = torch.linalg.eigh(features.T @ features)
        right, left = axes.T @ (features.T @ centred), axes
    else:  # as many unknowns as images
        values, axes = torch.linalg.eigh(features @ features.T)
        right, left = axes.T @ centred, features.T @ axes
    return [((left @ (right / (values + one * count)[:, None])).T, bias) for one in penalties]


def _svm(features: Tensor, targets: Tensor, penalties: Sequence[float], seed: int) -> list[Solution]:
    count, width = features.shape
    axes = None
    if width > count:  # the solution lies in the span of the images
        left, sizes, axes = torch.linalg.svd(features, full_matrices=False)
        features = left * sizes
    unknown = torch.zeros(targets.shape[1], features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    solutions = []
    for penalty in penalties:  # each from the one before
        optimizer = torch.optim.LBFGS(
            [unknown], max_iter=200, tolerance_grad=1e-6, tolerance_change=1e-12, line_search_fn="strong_wolfe"
        )

        def loss(penalty: float = penalty, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            margin = targets * (features @ unknown[:, :-1].T + unknown[:, -1])
            value = (1 - margin).clamp_min(0).square().sum() / count + penalty / 2 * unknown[:, :-1].square().sum()
            value.backward()
            return value

        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
        weight, bias = unknown.detach()[:, :-1], unknown.detach()[:, -1].clone()
        solutions.append((weight.clone() if axes is None else weight @ axes, bias))
    return solutions


def _sgd(features: Tensor, targets: Tensor, penalties: Sequence[float], seed: int) -> list[Solution]:
    labels = targets.argmax(1)
    return [_descended(features, labels, targets.shape[1], one, seed) for one in penalties]


def _descended(features: Tensor, labels: Tensor, num_classes: int, penalty: float, seed: int) -> Solution:
    count, width = features.shape
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.zeros(num_classes, width).double(), torch.zeros(num_classes).double()
    speed = torch.zeros(num_classes, width + 1).double()
    onehot, done = nn.functional.one_hot(labels, num_classes), 0
    while done < _STEPS:
        for part in torch.randperm(count, generator=generator).split(_BATCH):
            error = ((features[part] @ weight.T + bias).softmax(1) - onehot[part]) / len(part)
            gradient = torch.cat([error.T @ features[part] + penalty * weight, error.sum(0)[:, None]], 1)
            rate = _RATE / max(1.0, width**0.5 / 8) * max(0.0, 1 - done / _STEPS)
            speed = _MOMENTUM * speed + gradient
            weight, bias = weight - rate * speed[:, :-1], bias - rate * speed[:, -1]
            done += 1
    return weight, bias


METHODS: dict[str, tuple[Solve, tuple[float, ...]]] = {
    "ridge": (_ridge, tuple(10.0**i for i in range(-4, 4))),
    "svm": (_svm, tuple(10.0**i for i in range(-3, 3))),
    "sgd": (_sgd, tuple(10.0**i for i in range(-5, 1))),
}
