"""The answers as a table: predictions.csv, a row an image."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

FIRST = ("image", "width", "height", "answer")
LAST = ("view", "notes", "error")


def as_csv(records: Sequence[Mapping[str, Any]], briefs: Sequence[str]) -> str:
    """The table as text.

    Args:
        records: as `write_predictions` returns them.
        briefs: the answer of each in a few words.

    Returns:
        A line of names, then a line a record: `image`, `width`, `height`, `answer`; every value that is one number or
        text; those of a mapping as `shares.road`; of each joint `nose.x`, `nose.y` and `nose.score`; notes joined by
        "; "; and `error`. Other lists, such as those of several people, are in predictions.json.

    Example:
        >>> print(as_csv([{"image": "a.jpg", "size_hw": [2, 3], "class": "bee"}], ["bee 0.9"]).strip())
        image,width,height,answer,class,view,notes,error
        a.jpg,3,2,bee 0.9,bee,,,
    """
    rows = [_row(record, brief) for record, brief in zip(records, briefs, strict=True)]
    middle = dict.fromkeys(key for row in rows for key in row if key not in (*FIRST, *LAST))
    text = StringIO()
    writer = csv.DictWriter(text, [*FIRST, *middle, *LAST], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(record: Mapping[str, Any], brief: str) -> dict[str, Any]:
    row: dict[str, Any] = {"answer": brief}
    for key, value in record.items():
        if key == "size_hw":
            row["height"], row["width"] = value
        elif key == "notes":
            row[key] = "; ".join(value)
        elif isinstance(value, Mapping):
            row |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif not isinstance(value, list | tuple):
            row[key] = value
    if "keypoints" in record:
        for name, (x, y), score in zip(record["joints"], record["keypoints"], record["score"], strict=True):
            row |= {f"{name}.x": x, f"{name}.y": y, f"{name}.score": score}
    return row
