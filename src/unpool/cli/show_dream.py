"""`unpool show dream`: changes a photograph, or noise, until it excites a unit, a layer or a class of a network."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_size, add_source, pair
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "what excites a unit, a layer or a class: DeepDream, class models"
EXAMPLES = """With a photograph, DeepDream: what a layer sees in it is made stronger, from small sizes to large.
Without one, the image begins as noise: the model of a class by its score in front of the softmax, or of a unit. Priors
keep it like an image: --l2 and --smoothness are subtracted from the score, --statistics shapes each step.
examples: unpool show dream vgg16 photo.jpg --weights hed_vgg16 --layer backbone.stages.3.2
          unpool show dream timm/efficientnet_lite0 --weights efficientnet_lite0 --class flamingo
          unpool show dream runs/cifar10_resnet20-1 --class cat --octaves 1 --size 32 32 -o cat.png"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show dream", ABOUT, details=EXAMPLES)
    add_source(verb)
    verb.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="a photograph; by default noise")
    verb.add_argument("--layer", metavar="NAME", help="of a module; by default the scores")
    verb.add_argument("--unit", type=int, metavar="N", help="channel of the layer; by default all of it")
    verb.add_argument("--class", dest="label", metavar="NAME|INDEX", help="whose score is raised, in place of a layer")
    add_size(verb, "of the picture, up to 1024")
    whole = {
        "steps": "in each octave",
        "octaves": "sizes, the last one that of the picture",
        "seed": "of noise and shifts",
    }
    for name, about in {**whole, "jitter": "pixels of random shifts", "tile": "pixels computed at once"}.items():
        verb.add_argument(f"--{name}", type=int, metavar="N", help=about)
    real = {"step": "size of a step, pixels being 0 to 1", "l2": "weight of the energy prior"}
    real |= {"smoothness": "weight of the smoothness prior", "statistics": "exponent of the image statistics"}
    for name, about in real.items():
        verb.add_argument(f"--{name}", type=float, metavar="X", help=about)
    add_output(verb, "a .png, .jpg or .html; dream.png", out=Path("dream.png"), metavar="FILE")
    return verb


def run(values: Namespace) -> int:
    """Writes the picture or the page, prints what was excited, how much, and the path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.inspection.dreaming import Ascent
    from unpool.predictor.dreams import FROM_NOISE, FROM_PHOTO, show_dream

    asked = {name: value for name in Ascent._fields if (value := vars(values).get(name)) is not None}
    with library_output_to_stderr(), log_to_stderr(), ReadingBar("computing") as progress:
        view = show_dream(
            values.source,
            values.image,
            layer=values.layer,
            unit=values.unit,
            label=values.label,
            weights=values.weights,
            size_hw=pair(values.size),
            ascent=(FROM_NOISE if values.image is None else FROM_PHOTO)._replace(**asked),
            progress=progress,
        )
        path = view.save(values.out)
    if values.json:
        write_json({**view.to_json(), "picture": str(path)})
        return 0
    first, last = view.values["score"]
    for text in view.values["notes"]:
        write_result(f"note: {text}")
    write_result(
        f"{view.values['goal']}: {first:.4g} at first, {last:.4g} before the last step, {view.values['time_s']} s"
    )
    write_result(str(path))
    return 0
