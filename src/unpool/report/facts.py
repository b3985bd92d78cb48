"""What a run was trained on: its data and its machine."""

from collections.abc import Mapping
from typing import Any

from unpool.pages import blocks
from unpool.pages.axes import number
from unpool.pages.markup import Markup
from unpool.report.words import MOST_BARS, duration, plain, training_facts

MOST_SKIPPED = 50


def data_section(metrics: Mapping[str, Any]) -> list[Markup]:
    data = metrics.get("data")
    if not data:
        return []
    skipped = data.get("skipped") or []
    parts = [
        blocks.tiles([(f"{split} images", number(data[split])) for split in ("train", "val", "test") if split in data])
    ]
    parts += [_counts(name, one) for name, one in (data.get("classes") or {}).items() if len(one["counts"]) > 1]
    if not skipped:
        return [*parts, blocks.note("No file was skipped.")]
    rows = [_fault(fault) for fault in skipped[:MOST_SKIPPED]]
    listed = [blocks.table(rows, headings=("file", "reason"))]
    if len(skipped) > len(rows):
        listed.append(blocks.note(f"and {len(skipped) - len(rows)} more: see data.json"))
    title = "1 file was skipped" if len(skipped) == 1 else f"{len(skipped)} files were skipped"
    return [*parts, blocks.folded(title, *listed)]


def _counts(name: str, counted: Mapping[str, Any]) -> Markup:
    """How often each class occurs in the targets of the training set, the most frequent first."""
    counts = sorted(counted["counts"].items(), key=lambda entry: -entry[1])
    whole = sum(counted["counts"].values()) or 1
    kept = counts if len(counts) <= MOST_BARS else [*counts[: MOST_BARS // 2], *counts[-MOST_BARS // 2 :]]
    ratio = counted.get("largest_to_smallest")
    title = f"Classes of the training set ({name})" + (f": largest to smallest {number(ratio)} to 1" if ratio else "")
    images = counted.get("images") or {}
    beside = {one: f" on {count:,} image{'' if count == 1 else 's'}" for one, count in images.items()}
    rows = [blocks.Bar(one, count / whole, f"{count:,}{beside.get(one, '')}") for one, count in kept]
    return blocks.folded(title, blocks.bars(rows))


def _fault(fault: Any) -> tuple[str, str]:
    if isinstance(fault, dict):
        return str(fault.get("path", "")), str(fault.get("reason", ""))
    if isinstance(fault, list | tuple) and len(fault) > 1:
        return str(fault[0]), str(fault[1])
    return str(fault), ""


def machine_section(metrics: Mapping[str, Any]) -> list[Markup]:
    training = training_facts(metrics)
    rows = [("time", duration(training["time_s"]))] if training.get("time_s") is not None else []
    rows += [
        (name.replace("_", " "), plain(training[name]))
        for name in ("precision", "memory_format", "images_seen", "skipped_steps")
        if name in training
    ]
    for part in ("hardware", "versions"):
        rows += [
            (name, plain(value)) for name, value in (training.get(part) or {}).items() if value not in (None, [], "")
        ]
    return [blocks.table(rows)] if rows else []
