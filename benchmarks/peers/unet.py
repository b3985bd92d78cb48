"""U-Net of 31 million parameters with batch norm, 256x256 crops, batch 4, from CamVid's image and mask files."""

from functools import partial

from benchmarks.peers.loop import Peer, run
from benchmarks.peers.pairs import VOID, CamVidPairs

if __name__ == "__main__":
    dataset = partial(CamVidPairs, size_hw=(256, 256))
    run(Peer(network="unet_same_bn", batch=4, num_classes=11, dataset=dataset, lr=0.01, ignore_index=VOID))
