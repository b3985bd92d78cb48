"""A child of the fuzzer whose cases hang, die, or are right by their number."""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.fuzzing.child import serve
from benchmarks.fuzzing.verdict import Verdict


class Toy:
    limit_s = 0.5

    def case(self, number: int) -> Verdict:
        sys.stdout.write("what a case prints is no verdict\n")
        if number == 1:
            time.sleep(30)
        if number == 2:
            sum(iter(int, 1))
        if number == 4:
            os.abort()
        return Verdict("same", "toy", str(number))


if __name__ == "__main__":
    _, kind, seed, work, numbers = sys.argv
    serve(lambda work, seed: Toy(), int(seed), json.loads(numbers), Path(work))
