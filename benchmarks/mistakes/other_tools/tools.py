"""Each tool on a run, with every check that applies to plain objects or to a running loop."""

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import preflight.runner
import torch
import torch_audit
import torch_preflight
import torcheck
import torchtest2
from torch import Tensor, nn

from benchmarks.mistakes.case import Case
from benchmarks.mistakes.other_tools.objects import Finding, Pairs, Run, Wrapped, evaluating, parted
from benchmarks.mistakes.other_tools.script import script_of

OVERFIT_S = 8.0  # processor seconds that torchtest2's longest check may take; 200 steps is its default
LEVELS = {
    **{"FAIL": "failure", "WARN": "warning"},  # torchtest2
    **{"FATAL": "failure", "ERROR": "failure", "INFO": "note"},  # preflight-ml, torch-audit
    **{"WARNING": "warning", "NOTE": "note"},  # torch-preflight
}
KINDS = (
    "should not change",
    "should change",
    "contains NaN",
    "contains inf",
    "shouldn't all",
    "belong to any optimizer",
)
GRADIENT_KINDS = ("have no gradient", "have zero gradient", "have exploding gradient", "Backward pass failed")


def torchtest2_on(run: Run) -> list[Finding]:
    """`check_model` on the first batch, with loss, optimiser, the forward of the author and the shape of the output."""

    def forward(_: nn.Module, inputs: Any, *__: Any) -> Any:
        return run.outputs_of(inputs)

    inputs, targets = run.inputs_of(run.batch), run.targets_of(run.batch)
    report = torchtest2.check_model(
        run.model,
        inputs,
        targets,
        loss_fn=run.loss if has_parts(run) else run.arguments["loss"],  # it knows torch's losses
        optimizer=run.optimizer,
        output_shape=output_shape(run),
        frozen=run.frozen,
        overfit_steps=overfit_steps(run),
        forward_fn=None if run.is_plain else forward,
        eval_forward_fn=None if run.is_plain else forward,
    )
    return [Finding(one.name, LEVELS[one.status.value], one.message) for one in [*report.failures, *report.warnings]]


def has_parts(run: Run) -> bool:
    """Whether the loss is a dict of losses."""
    with torch.no_grad(), evaluating(run.model):
        return isinstance(run.arguments["loss"](run.forward(run.batch), run.targets_of(run.batch)), Mapping)


def output_shape(run: Run) -> tuple[int | None, ...] | None:
    """The shape of scores of classes, where the author names classes and targets are their numbers."""
    classes, targets = run.arguments.get("classes"), run.targets_of(run.batch)
    is_numbers = isinstance(targets, Tensor) and not targets.is_floating_point() and targets.dim() in (1, 3)
    if not classes or not is_numbers or run.arguments.get("task") == "embedding":
        return None
    return (None, len(classes)) if targets.dim() == 1 else (None, len(classes), None, None)


def overfit_steps(run: Run) -> int:
    """As many steps of the default 200 as the time allows."""
    for _ in range(2):  # the first one is slow
        start = time.process_time()
        run.loss(run.forward(run.batch), run.targets_of(run.batch)).backward()
        run.model.zero_grad()
    return max(10, min(200, int(OVERFIT_S / max(time.process_time() - start, 1e-3))))


def preflight_ml_on(run: Run) -> list[Finding]:
    """`run_checks` on both loaders, model and loss, where needed as pairs."""
    if run.is_plain:
        train, val, model, loss = run.train, run.val, run.model, run.loss
    else:
        train, val, model = Pairs(run, run.train), Pairs(run, run.val), Wrapped(run)
        like = dict.fromkeys(train.targets) if train.targets else None

        def loss(outputs: Any, targets: Any) -> Tensor:
            return run.loss(outputs, parted(targets, like))

    results = preflight.runner.run_checks(train, model, loss, {"val_dataloader": val})
    wrong = [(result, LEVELS[result.severity.name]) for result in results if not result.passed]
    return [
        Finding(f"{one.name} {kind}".strip(), level, one.message)
        for one, level in wrong
        for kind in [kind for kind in GRADIENT_KINDS if kind in one.message] or [""]
    ]


def torch_audit_on(run: Run) -> list[Finding]:
    """`autopatch` with its audits before the loop, then each step of the loop; without its advice on speed."""
    auditor = torch_audit.autopatch(run.model, optimizer=run.optimizer, every_n_steps=1)
    for step in run.steps(auditor.backward):
        step()
    result = auditor.finish()
    by_rule = {finding.rule_id: finding for finding in reversed(result.findings)}
    return [
        Finding(rule, LEVELS[finding.severity.value], f"{finding.module_path or ''} {finding.message}".strip())
        for rule, finding in sorted(by_rule.items())
        if rule not in result.rules or result.rules[rule].category != "Performance"
    ]


def torcheck_on(run: Run) -> list[Finding]:
    """Weights that must change, frozen ones that must not, NaN, infinity, and outputs that must be logits; a loop."""
    torcheck.register(run.optimizer)
    findings: dict[str, Finding] = {}
    for name, weight in run.model.named_parameters():
        is_listed = any(weight is one for group in run.optimizer.param_groups for one in group["params"])
        is_trained = weight.requires_grad and not name.startswith(tuple(f"{module}." for module in run.frozen))
        if weight.requires_grad or is_listed:
            checks = {"changing": is_trained, "check_nan": True, "check_inf": True}
            _noted(findings, torcheck.add_tensor, weight, name, **checks)
    with torch.no_grad(), evaluating(run.model):
        is_tensor = isinstance(run.forward(run.batch), Tensor)
    if is_tensor:  # its public functions for outputs refuse networks that have frozen weights
        span = (0, 1) if expects_logits(run) else None
        torcheck.registry._add_output_check(run.model, "network", span, True, True, True)  # noqa: FBT003
    for step in run.steps():
        if "Module network's output" in _noted(findings, step):  # it ends each step before the optimiser's checks
            torcheck.disable_modules(run.model)
    return list(findings.values())


def _noted(findings: dict[str, Finding], call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Calls, adds what torcheck raises to the findings, and returns it."""
    try:
        call(*arguments, **options)
    except RuntimeError as error:
        kinds = [kind for kind in KINDS if kind in str(error)]
        if not kinds:
            raise
        for kind in kinds:
            findings.setdefault(kind, Finding(kind, "failure", str(error)))
        return str(error)
    return ""


def expects_logits(run: Run) -> bool:
    """Whether the loss, as its author wrote it, has a softmax or sigmoid of its own."""
    loss = run.arguments["loss"]
    if isinstance(loss, nn.Module):
        return isinstance(loss, nn.CrossEntropyLoss | nn.BCEWithLogitsLoss)
    text = inspect.getsource(loss) if loss.__module__.startswith("benchmarks.") else loss.__name__
    return "with_logits" in text or "cross_entropy" in text.replace("binary_cross_entropy", "")


def torch_preflight_on(case: Case) -> list[Finding]:
    """Every rule on the text of the case; without its advice on speed."""
    findings, _ = torch_preflight.check_source(f"{case.name}.py", script_of(case))
    return [
        Finding(one.code, LEVELS[one.severity.name], f"line {one.line}: {one.message}")
        for one in findings
        if one.category is not torch_preflight.Category.PERFORMANCE_WARN
    ]


ON_RUN = {
    "torchtest2": torchtest2_on,
    "preflight-ml": preflight_ml_on,
    "torch-audit": torch_audit_on,
    "torcheck": torcheck_on,
}
ON_TEXT = {"torch-preflight": torch_preflight_on}
