"""SegNet, 352x480 crops, batch 4, from CamVid's image and mask files."""

from functools import partial

from benchmarks.peers.loop import Peer, run
from benchmarks.peers.pairs import VOID, CamVidPairs

if __name__ == "__main__":
    dataset = partial(CamVidPairs, size_hw=(352, 480))
    run(Peer(network="segnet", batch=4, num_classes=11, dataset=dataset, lr=0.01, ignore_index=VOID))
