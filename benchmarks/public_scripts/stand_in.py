"""Writes random weights where a library looks for those of ImageNet: `python -m ... ENCODER FOLDER`, for one script.

A machine that may not download weights runs the script as it is all the same; the network then starts from its first
random weights, which is what `unpool.check` sees.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    import segmentation_models_pytorch as smp
    import torch
    from safetensors.torch import save_file
    from segmentation_models_pytorch.encoders import encoders

    name, folder = sys.argv[1:] if arguments is None else arguments
    settings = encoders[name]["pretrained_settings"]["imagenet"]
    torch.manual_seed(0)
    weights = smp.encoders.get_encoder(name).state_dict()
    place = Path(folder) / "hub" / f"models--{settings['repo_id'].replace('/', '--')}" / "snapshots"
    place = place / settings["revision"]
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}))
    save_file(weights, place / "model.safetensors")


if __name__ == "__main__":
    main()
