"""Changes brightness, contrast, saturation, hue and the colour of the light."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Colour
from unpool.data.draws import Draws
from unpool.limits import SHARE, check_number
from unpool.ops import colour

HUE = Interval(ge=0, le=0.5)


class ColorJitter(Colour):
    """Changes the colours of each image by one matrix, its steps in the order of the arguments.

    Factors are drawn uniformly from 1 - value to 1 + value, the turn of hue from -hue to +hue. Values are 0 to 1.
    Of SSD's distortion (Liu et al. 2016), which changes every second image in each way, the contrast is `brightness`
    0.5 here, since it multiplies all values by 0.5 to 1.5; saturation is 0.5, and hue, up to 18 degrees, 0.05. Left out
    are its brightness, which adds one number to all channels where `lighting` adds one to each, the exchange of
    channels, and contrast before or after the others by chance.
    Both images of a pair get one matrix, contrast about the mean grey value of both.

    Args:
        brightness: value for the factor on all channels.
        contrast: value for the factor on differences from the mean grey value of the image.
        saturation: value for the factor on differences of each channel from the grey value of its pixel.
        hue: largest turn of the chroma, in full turns, at most half of one.
        lighting: standard deviation of the normal number added to each channel, as a share of the range 0 to 255.
    """

    def __init__(
        self,
        *,
        brightness: Annotated[float, SHARE] = 0.0,
        contrast: Annotated[float, SHARE] = 0.0,
        saturation: Annotated[float, SHARE] = 0.0,
        hue: Annotated[float, HUE] = 0.0,
        lighting: Annotated[float, SHARE] = 0.0,
    ) -> None:
        self._brightness = check_number("color_jitter.brightness", brightness, SHARE)
        self._contrast = check_number("color_jitter.contrast", contrast, SHARE)
        self._saturation = check_number("color_jitter.saturation", saturation, SHARE)
        self._hue = check_number("color_jitter.hue", hue, HUE)
        self._lighting = check_number("color_jitter.lighting", lighting, SHARE)

    def matrix(self, draws: Draws, mean: Tensor) -> Tensor:
        channels = mean.shape[1]
        light = torch.stack([draws.normal() for _ in range(channels)], dim=1) * (self._lighting * 255)
        result = colour.brightness(draws.uniform(1 - self._brightness, 1 + self._brightness), channels)
        pivot = colour.luma(colour.recolour(mean[:, :, None, None], result)[:, :, 0, 0].double())
        factor = draws.uniform(1 - self._contrast, 1 + self._contrast)
        for step in (
            colour.contrast(factor, pivot, channels),
            colour.saturation(draws.uniform(1 - self._saturation, 1 + self._saturation), channels),
            colour.hue(draws.uniform(-self._hue, self._hue), channels),
            colour.shift(light),
        ):
            result = colour.compose(result, step)
        return result
