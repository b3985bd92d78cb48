"""Conversions that keep the weights: a finer map, larger images, and no batch norm; each is proved as it is made.

    python examples/convert_network.py [CLASSIFIER]

Any `nn.Module` can stand for the classifier; what has no exact counterpart is refused by name.
"""

import sys

import torch

import unpool
from unpool.convert import dilate, fold_batch_norm, fully_convolutional
from unpool.models import row_of


@torch.no_grad()
def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "cifar_resnet20"
    torch.manual_seed(0)
    classifier = unpool.build(name).eval()
    channels, height, width = row_of(name).input
    image = torch.rand(1, channels, 2 * height, 2 * width)
    window = image[..., :height, :width]

    # 1. a classifier for one size of image becomes a network that gives a map of scores
    sliding = fully_convolutional(classifier, image=window)
    scores = sliding(image)
    print(f"{name} on {height}x{width}: {tuple(classifier(window).shape)}; on twice that: {tuple(scores.shape)}")
    print(f"scores stand {sliding.stride} pixels apart and read {sliding.margin} beyond their window")

    # 2. its strides become dilations: scores in between, those that it had are kept
    stride = max(sliding.stride)
    finer = dilate(sliding, output_stride=stride // 2)
    dense = finer(image)
    error = (dense[..., ::2, ::2][..., : scores.shape[2], : scores.shape[3]] - scores).abs().max()
    print(f"output stride {stride} -> {stride // 2}: {tuple(dense.shape)}, off by {error:.0e} where both have a score")

    # 3. batch norms go into the layers before them
    folded = fold_batch_norm(classifier, image=window)
    error = (folded.network(window) - classifier(window)).abs().max()
    print(f"{len(folded.changes)} batch norms folded, {len(folded.left)} stay, off by {error:.0e}")


if __name__ == "__main__":
    main()
