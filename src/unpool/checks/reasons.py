"""Which of several findings is the reason, and which only follow from it."""

from collections.abc import Sequence

from unpool.checks.findings import Finding

# the first that fails is named first: what is wrong with the files before what is wrong with the network, what has one
# definite trace before what is only known by its effect
ORDER = (
    *("data.unreadable", "data.label_kind", "data.label_range", "network.output_size", "network.broadcast"),
    *("data.palette", "data.soft_mask", "data.mask_size", "data.box_format", "data.box_invalid"),
    *("data.keypoint_outside", "data.constant", "data.value_range", "data.target_mismatch", "data.mask_misaligned"),
    *("data.left_right", "data.channel_order", "data.normalization", "data.leak", "data.subject_leak"),
    *("data.empty_class", "data.class_one_split"),
    *("augment.target_left", "augment.mask_interpolated", "augment.pairs_not_swapped", "augment.same_randomness"),
    *("augment.too_strong", "augment.changes_meaning", "augment.on_validation"),
    *("loss.wrong_kind", "loss.wrong_way", "loss.not_of_targets", "network.double_softmax", "loss.pair_convention"),
    *("loss.shifted_tokens", "loss.box_encoding", "loss.weights_inverted", "loss.ignored_counted", "loss.scale"),
    *("loss.target_scale", "network.batch_mixing", "network.input_unused", "network.unused_layer"),
    *("network.stride_holes", "optim.no_step", "optim.missing_parameters", "optim.twice", "optim.not_zeroed"),
    *("optim.accumulation", "optim.frozen_trained", "norm.frozen", "network.no_gradient", "network.symmetric"),
    *("network.saturated", "network.dead_units", "network.variance", "network.output_at_start"),
    *(
        "optim.not_shuffled",
        "norm.other_statistics",
        "norm.alike_batch",
        "norm.small_batch",
        "norm.slow_momentum",
        "norm.dropout_in_eval",
    ),
    *("norm.train_eval_gap", "network.checkerboard", "network.receptive_field"),
    *("optim.precision", "optim.schedule", "optim.always_clipped", "optim.decay_on_norms"),
    *("optim.rate_high", "optim.rate_low"),
    *("metric.train_mode", "metric.wrong_axis", "metric.ignored_counted", "metric.disagrees"),
    *("metric.averaged_batches", "metric.not_perfect", "metric.rewards_constant"),
    *("predict.mode", "predict.preprocessing", "predict.class_order", "predict.size", "predict.differs"),
    *("norm.bias_before", "data.split_shift", "data.label_noise", "data.imbalance", "optim.cannot_overfit"),
)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that something is wrong, failures before warnings, the reason before what may follow from it.

    Example:
        >>> late = Finding("fail", "one batch is not learned", cause="optim.cannot_overfit")
        >>> early = Finding("fail", "gradients add up", cause="optim.not_zeroed")
        >>> [one.cause for one in ordered([late, early])]
        ['optim.not_zeroed', 'optim.cannot_overfit']
    """
    rank = {cause: number for number, cause in enumerate(ORDER)}
    wrong = [one for one in findings if one.verdict in ("fail", "warn")]
    return sorted(wrong, key=lambda one: (one.verdict != "fail", rank.get(one.cause, len(ORDER))))
