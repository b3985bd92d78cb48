"""A trainer of one number, with the command line and the run directory of ours; `forgets` loses its state on resume."""

import json
import os
import sys
import time
from pathlib import Path

STEPS, SAVE_EVERY, STEP_S = 60, 4, 0.02


def main() -> None:
    forgets = sys.argv[1] == "forgets"
    arguments = sys.argv[3:]
    run = Path(arguments[arguments.index("--run" if "--run" in arguments else "--resume") + 1])
    (run / "last").mkdir(parents=True, exist_ok=True)
    (run / "recipe.yaml").touch()
    state, step = _load(run)
    state = 1 if forgets and step else state
    lines = (run / "log.jsonl").read_text().splitlines()[:step] if (run / "log.jsonl").exists() else []
    if step == STEPS:
        return
    (run / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    while step < STEPS:
        time.sleep(STEP_S)
        step, state = step + 1, (state * 48271 + step) % (2**31 - 1)
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, "loss": state, "wall_s": time.time()}) + "\n")
        if step % SAVE_EVERY == 0:
            _save(run, state, step)
    (run / "model.safetensors").write_text(str(state))


def _load(run: Path) -> tuple[int, int]:
    saved = sorted((run / "last").glob("step-*"))
    for left in (run / "last").glob(".tmp*"):
        (left / "state.safetensors").unlink(missing_ok=True)
        left.rmdir()
    if not saved:
        return 1, 0
    return int((saved[-1] / "state.safetensors").read_text()), int(saved[-1].name[5:])


def _save(run: Path, state: int, step: int) -> None:
    part = run / "last" / f".tmp-{step}-{os.getpid()}"
    part.mkdir()
    time.sleep(0.02)
    (part / "state.safetensors").write_text(str(state))
    part.rename(run / "last" / f"step-{step:08d}")


if __name__ == "__main__":
    main()
