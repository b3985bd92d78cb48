"""Published figures about our networks and layers that are known to be wrong, with what is true; lectures included.

Nothing here may be asserted of a network. "counted" is from the layers themselves, held by tests; "read" is from the
source that is named.
"""

from fnmatch import fnmatch
from typing import NamedTuple


class Misprint(NamedTuple):
    """One figure: what it is about (names of `unpool models`, or of a layer), as printed, as it is, how we know."""

    about: str
    claim: str
    truth: str
    evidence: str


MISPRINTS = (
    Misprint(
        "vgg16",
        "CS231n's table: memory of 24M values, 93 to 96 MB an image",
        "its own rows add up to 15,237,608 values: 61.0 MB (58.1 MiB) in float32, forward",
        "counted",
    ),
    Misprint(
        "vgg16",
        "CS231n's table: 138M parameters, 138,344,128 by its rows",
        "those are weights; with the biases there are 138,357,544",
        "counted",
    ),
    Misprint(
        "vgg19",
        "lecture 001: ends in a layer of 1,024 and the classes",
        "ends in 4,096, 4,096 and 1,000: 143,667,240 parameters",
        "counted; Simonyan & Zisserman 2015, table 1",
    ),
    Misprint(
        "googlenet",
        "table 1: conv1 has 2.7K parameters and 34M operations",
        "9,472 and 118.0M for the 7x7 of every public network; 7x1 and 1x7 would give the printed ones",
        "counted",
    ),
    Misprint("googlenet", "table 1: 4c has 463K parameters", "510,104, which is 498.1 times 1,024", "counted"),
    Misprint(
        "googlenet",
        "table 1: 5a has 1072K parameters and 54M operations",
        "1,043,456, which is 1,019.0 times 1,024, and 51.1M",
        "counted",
    ),
    Misprint(
        "googlenet",
        "table 1: operations",
        "multiply-adds; and K is 1,024: 3a has 163,696 parameters, printed as 159K",
        "counted",
    ),
    Misprint(
        "googlenet_torchvision",
        "called GoogLeNet",
        "has 3x3 in place of each 5x5, 380,928 parameters fewer than googlenet_bn, and no response normalisation",
        "counted",
    ),
    Misprint(
        "alexnet",
        "images of 224x224",
        "(224 - 11) / 4 + 1 is no whole number: 55 positions need 227, or 224 with a border of 2",
        "counted",
    ),
    Misprint(
        "alexnet_torchvision",
        "called AlexNet",
        "the network of 2014 with 61,100,840 parameters; that of 2012 has 60,965,224, on one tower 62,378,344",
        "counted",
    ),
    Misprint("preresnet1001", "10.2M parameters", "10,327,706", "counted"),
    Misprint(
        "resnet*",
        "lecture 002: weight decay of 1e-5",
        "1e-4",
        "read: He et al. 2016, section 3.4; KaimingHe/deep-residual-networks",
    ),
    Misprint(
        "segnet_basic",
        "table 1: 1.425M parameters, no biases",
        "the released network has 1,416,587, biases among them",
        "counted",
    ),
    Misprint(
        "deeppose",
        "about 40M parameters for images of 220x220",
        "58,396,060 at 227; taken literally, 220 gives 46,861,724",
        "counted",
    ),
    Misprint(
        "hourglass*",
        "princeton-vl/pytorch_stacked_hourglass: 32,819,328 parameters for eight stacks",
        "25,434,112 are used; the others belong to skip convolutions that never run and get no gradient",
        "counted",
    ),
    Misprint(
        "simple_baselines",
        "8.9 GFLOPs at 256x192",
        "5.43 billion multiply-adds, a transposed convolution charged at the size of its input",
        "counted",
    ),
    Misprint(
        "DeepFace",
        "more than 120 million parameters",
        "118,923,774 by the printed sizes of its layers",
        "counted",
    ),
    Misprint(
        "dropout",
        "lecture 000: at test, multiply by the probability that a unit was set to zero",
        "by the probability that it was kept",
        "counted: the expectation over many draws",
    ),
    Misprint(
        "convolution as a matrix",
        "lecture 000: a 4x6 matrix times a vector of 5; lecture 002: columns missing, S21 twice",
        "as many columns as the input has values, as many rows as the output; each row once moved by the stride",
        "counted: the matrix times the image equals the convolution",
    ),
)


def find_misprints(pattern: str = "*") -> list[Misprint]:
    """Those about names that fit a shell pattern, or hold it where it has no wildcard."""
    wild = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [one for one in MISPRINTS if fnmatch(one.about.lower(), wild.lower()) or fnmatch(pattern, one.about)]
