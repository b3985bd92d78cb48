"""How large the activations of the first batches are at each depth, and which units never say anything."""

import math

import torch
from torch import Tensor, nn

from unpool.checks.answers import Asked, are_log_probabilities, are_probabilities, ask
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.passes import Ran, Units
from unpool.checks.setup import Setup

# Deviation of a layer's output against that of the first layer: PyTorch's default start loses a factor of 2.4 a layer
# behind a ReLU (its variance is 1 / (3 fan-in), a sixth after the ReLU), so that ten plain layers, which still learn,
# stand at 1e-4
VANISHED, EXPLODED = 1e-5, 1e4
DEAD_FAIL, DEAD_WARN = 0.9, 0.6  # of the units of one layer; a healthy deep stack without norms has up to half
FLAT_FAIL, FLAT_WARN = 0.7, 0.5  # of the values of one call
TIMES_FAIL = 3.0  # the loss of a guess


def look_variance(setup: Setup) -> Finding:
    """Compares the deviation of each layer's output with that of the first layer."""
    layers = [ran for ran in setup.first_pass.layers if _has_weight(ran) and not ran.next_norm]
    first = next((ran for ran in setup.first_pass.layers if ran.deviation > 0), None)
    if first is None or len(setup.first_pass.layers) < 3:
        return not_applicable("fewer than three layers have weights")
    inside = [ran for ran in layers if ran is not first and ran.deviation > 0]  # 0 behind a layer of zeros is meant
    if not inside:
        return passed("Each layer with weights is followed by a norm, which sets the size of its output.")
    ratios = {ran.name: ran.deviation / first.deviation for ran in inside}
    name, worst = max(ratios.items(), key=lambda item: abs(math.log(max(item[1], 1e-30))))
    about = (
        f"Between samples the outputs of {name} deviate {worst:.1e} times as much as those of {first.name}, the "
        "first layer"
    )
    if VANISHED <= worst <= EXPLODED:
        return passed(f"{about}.", worst)
    what = "vanish" if worst < VANISHED else "explode"
    return Finding(
        "fail", f"{about}: activations {what} with depth.", worst, "network.variance",
        "Start weights by He's rule (nn.init.kaiming_normal_, nonlinearity='relu'), by Xavier's for tanh and "
        "sigmoid, or put "
        "a norm behind each layer.",
        tuple(f"{ran.name} ({type(ran.layer).__name__}): {ran.deviation:.2e}" for ran in setup.first_pass.layers[:40]),
    )  # fmt: skip


def _has_weight(ran: Ran) -> bool:
    """Layers that start at 0 on purpose say nothing, and neither do those with so few outputs that chance decides."""
    weight = dict(ran.layer.named_parameters()).get("weight")
    return isinstance(weight, Tensor) and bool((weight != 0).any())


def look_dead_units(setup: Setup) -> Finding:
    """Counts the ReLU units that are 0 for every sample of the first batches."""
    units = [one for one in setup.first_pass.units if one.function == "relu" and one.is_alive is not None]
    if not units:
        return not_applicable("no ReLU is called")
    output = next((one for one in units if one.is_output), None)
    if output is not None and setup.target_form in ("class", "class map", "flags"):
        return Finding(
            "fail", f"A ReLU ({output.layer or 'in the network'}) is the last step before the loss: a score below 0 "
            "becomes 0 "
            f"and gets no gradient; {output.dead:.0%} of the outputs are 0 for every sample.", output.dead,
            "network.dead_units", "Return the scores of the last layer as they are, without a ReLU.", (output.layer,),
        )  # fmt: skip
    worst = max(units, key=lambda one: one.dead)
    about = (
        f"Of the ReLU units of {worst.layer or 'the network'} {worst.dead:.0%} are 0 for each of "
        f"{setup.first_pass.samples} samples; of all layers {_mean_dead(units):.0%}"
    )
    if worst.dead < DEAD_WARN:
        return passed(f"{about}.", worst.dead)
    return Finding(
        "fail" if worst.dead >= DEAD_FAIL else "warn", f"{about}: they pass no gradient and never learn.", worst.dead,
        "network.dead_units", "Look for a bias far below 0, for pictures that are not normalised, and for weights "
        "that start "
        "too large; start biases at 0.",
        tuple(f"{one.layer}: {one.dead:.0%} dead" for one in sorted(units, key=lambda one: -one.dead)[:8]),
    )  # fmt: skip


def _mean_dead(units: list[Units]) -> float:
    return float(torch.cat([(~one.is_alive).float() for one in units if one.is_alive is not None]).mean())


def look_saturated(setup: Setup) -> Finding:
    """Counts the values of sigmoids and hyperbolic tangents where these are flat."""
    units = [one for one in setup.first_pass.units if one.function != "relu" and not one.is_output]
    if not units:
        return not_applicable("neither a sigmoid nor a tanh is called inside of the network")
    worst = max(units, key=lambda one: one.flat)
    about = (
        f"Of the values of the {worst.function} in {worst.layer or 'the network'} {worst.flat:.0%} lie in its flat part"
    )
    if worst.flat < FLAT_WARN:
        return passed(f"{about}.", worst.flat)
    return Finding(
        "fail" if worst.flat >= FLAT_FAIL else "warn", f"{about}, where the slope is under a hundredth of the "
        "steepest.",
        worst.flat, "network.saturated", "Normalise the pictures, start weights by Xavier's rule "
        "(nn.init.xavier_uniform_) and biases at 0.",
        tuple(f"{one.function} in {one.layer}: {one.flat:.0%}" for one in sorted(units, key=lambda one: -one.flat)[:8]),
    )  # fmt: skip


def look_output_at_start(setup: Setup) -> Finding:
    """Compares the first loss with that of a guess, which gives all classes the same score."""
    asked = ask(setup)
    if asked is None:
        return not_applicable("give loss= and outputs that are one tensor")
    if asked.kind not in ("one of", "words", "yes or no") or not _is_even(asked):
        return not_applicable("the targets are no classes, or these weigh otherwise: there is no guess to compare with")
    loss, guess = asked.loss(asked.scores), asked.loss(guessed_scores(asked))
    if not 0 < guess < float("inf") or loss == float("inf"):
        return not_applicable(f"the loss of a guess is {guess:.3g}")
    chance = math.log(max(2, asked.num_classes if asked.kind != "yes or no" else 2))
    limit = 1 + min(3.0, max(1.5, chance)) / chance
    ratio = loss / guess
    about = f"The first loss is {loss:.3g}, that of a guess {guess:.3g} ({ratio:.2f} times)"
    if ratio <= limit:
        return passed(f"{about}.", ratio)
    scores = asked.scores.float()
    about = f"{about}; a network that knows nothing yet is to be as good as a guess (at most {limit:.2f} times)."
    shown = f"outputs from {float(scores.min()):.3g} to {float(scores.max()):.3g}, deviation {float(scores.std()):.3g}"
    return Finding(
        "fail" if ratio >= TIMES_FAIL else "warn", about, ratio, "network.output_at_start",
        "Start the last layer with small weights (deviation 0.01) and a bias of 0; do not scale its output.",
        (shown, f"last layer: {_last(setup)}"),
    )  # fmt: skip


def _is_even(asked: Asked) -> bool:
    """Whether a guess costs the same for yes and for no, as it does in a cross-entropy and not in a squared error."""
    if asked.kind != "yes or no":
        return True
    guess = guessed_scores(asked)
    costs = [asked.loss(guess, torch.full_like(asked.targets, answer)) for answer in (0, 1)]
    return abs(costs[0] - costs[1]) <= 0.01 * max(costs)


def guessed_scores(asked: Asked) -> Tensor:
    """Scores that say nothing, in the form that the network returns: logits, probabilities or their logarithms."""
    scores = asked.scores
    if asked.kind == "yes or no":
        is_squashed = any(one.is_output and one.function == "sigmoid" for one in asked.setup.first_pass.units)
        return torch.full_like(scores, 0.5 if is_squashed else 0.0)
    if are_probabilities(asked):
        return torch.full_like(scores, 1 / asked.num_classes)
    return torch.full_like(scores, -math.log(asked.num_classes) if are_log_probabilities(asked) else 0.0)


def _last(setup: Setup) -> str:
    layers = setup.first_pass.layers
    if not layers:
        return "unknown"
    layer: nn.Module = layers[-1].layer
    return f"{layers[-1].name} ({type(layer).__name__})"


CHECKS = (
    Check(
        name="activations keep their size",
        subject="network",
        causes={"network.variance": "Start weights by the rule of the activation, or put a norm behind each layer."},
        symptom="The loss stays where it began, or is NaN within a few steps.",
        measure="The deviation between samples of each layer's output, divided by that of the first layer; layers "
        "that a norm "
        "reads are left out.",
        threshold=f"Below {VANISHED:g} or above {EXPLODED:g} fails.",
        origin="Glorot and Bengio 2010, section 4.2; He et al. 2015 (arXiv:1502.01852), section 2.2. PyTorch's "
        "default start "
        "loses a factor of 2.4 a layer, and plain networks of ten such layers still learn.",
        look=look_variance,
        is_quick=True,
        is_watched=True,
    ),
    Check(
        name="ReLU units fire",
        subject="network",
        causes={"network.dead_units": "No ReLU behind the last layer; biases that start at 0; normalised pictures."},
        symptom="The network learns slowly and no better with more channels.",
        measure="The share of a layer's units that are 0 for every sample and position of the first batches.",
        threshold=f"From {DEAD_FAIL:.0%} of a layer it fails, from {DEAD_WARN:.0%} it warns; a ReLU on class scores "
        "fails.",
        origin="Healthy runs without norms had up to half of a layer dead on 64 samples.",
        look=look_dead_units,
        is_quick=True,
        is_watched=True,
    ),
    Check(
        name="squashing units are not saturated",
        subject="network",
        causes={"network.saturated": "Normalise the pictures and start weights by Xavier's rule."},
        symptom="The loss falls very slowly from the start.",
        measure="The share of the values of each sigmoid and tanh where its slope is under a hundredth of the "
        "steepest.",
        threshold=f"From {FLAT_FAIL:.0%} it fails, from {FLAT_WARN:.0%} it warns.",
        origin="Glorot and Bengio 2010, section 3; the share is from healthy runs.",
        look=look_saturated,
        is_quick=True,
        is_watched=True,
    ),
    Check(
        name="the first loss is that of a guess",
        subject="network",
        causes={"network.output_at_start": "Start the last layer with small weights and a bias of 0."},
        symptom="The first steps are spent on unlearning: the loss falls steeply from a value far above log C.",
        measure="The loss of the first batch, divided by the loss of equal scores for all classes.",
        threshold="Above 1 + 3 / log C for many classes, and above 1 + 1.5 / log C for few, it warns; from "
        f"{TIMES_FAIL:g} times on it fails.",
        origin="Arithmetic: scores of deviation s add about s^2 / 2 to the loss; He's rule gives s up to 1.4, which "
        "adds 1. A network of MNIST that starts at 2.4 times, by He's rule for its last layer's outputs, learns it to "
        "99 % all the same.",
        look=look_output_at_start,
        is_quick=True,
    ),
)
