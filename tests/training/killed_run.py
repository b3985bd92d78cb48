"""A small run in a folder, resumed where there is something to resume; killed from outside by the tests."""

import sys
import time
from functools import partial
from pathlib import Path

from safetensors.torch import save_file

from tests.training.toy_run import Loader, make_job
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import load
from unpool.training.evaluation import Evaluate
from unpool.training.files import write_tensors
from unpool.training.log import Monitor
from unpool.training.loop import fit
from unpool.training.saving import Save
from unpool.training.state import final_state, restore


class Pause(Callback):
    """Spreads the run out, so that a kill finds it anywhere."""

    def after_step(self, job, record):
        time.sleep(0.01)


def main(folder: Path) -> None:
    job = make_job(epochs=12, ema=0.9, precision="bfloat16", optimizer="adamw", lr=0.01)
    measure = Evaluate(Loader(shuffle=False), best=partial(write_tensors, folder / "best.safetensors"))
    kept = [measure, Monitor(folder / "log.jsonl")]
    known = load(folder / "last")
    if known is not None:
        restore(job, kept, tensors=known[0], meta=known[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    fit(job, [*kept, Pause(), Save(folder / "last", callbacks=kept, every_s=0)])
    save_file(final_state(job), folder / "model.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
