"""Counts every network of the catalogue anew, from its layers, and sets each figure beside the published one."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import RESULTS, Row, write_result
from unpool.inspection.catalogue import count
from unpool.models import names


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.catalogue", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="part of a name, or with * and ?")
    parser.add_argument("--json", type=Path, default=RESULTS / "catalogue.json")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    counted = [count(name) for name in names(options.only)]
    right = sum(not one.wrong for one in counted)
    rows = [Row(what="networks that agree", figure=f"{right} of {len(counted)}")]
    command = shlex.join(["python", "-m", "benchmarks.catalogue", *(sys.argv[1:] if arguments is None else arguments)])
    details = {"networks": [one.to_json() for one in counted]}
    write_result(options.json, rows, command=command, seed=None, wall_s=time.monotonic() - started, details=details)
    print(f"{right} of {len(counted)} agree")
    return int(right < len(counted))


if __name__ == "__main__":
    sys.exit(main())
