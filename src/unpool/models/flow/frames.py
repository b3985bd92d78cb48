"""How many channels each of two frames has, and a flow."""

from unpool.errors import RecipeError

AXES = 2  # of a flow: x to the right, y down


def channels_of_frame(channels: int, outputs: int = AXES) -> int:
    """Half of the channels of an image that is two frames.

    Args:
        channels: of the image.
        outputs: that are asked of a network.

    Raises:
        RecipeError: the number is odd, or the outputs are not two.

    Example:
        >>> channels_of_frame(6)
        3
    """
    if channels % 2:
        raise RecipeError(
            f"in_channels is {channels}; two frames have the channels of both: set data.channels to 6 for colour or 2 "
            "for grey"
        )
    if outputs != AXES:
        raise RecipeError(f"num_classes is {outputs}; a flow has 2, to the right and down: choose task flow")
    return channels // 2
