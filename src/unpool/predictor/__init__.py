"""From a run directory to predictions on images of any kind and size."""

from unpool.predictor.files import list_images, write_predictions
from unpool.predictor.loading import Weights, load
from unpool.predictor.predictor import Predictor

__all__ = ["Predictor", "Weights", "list_images", "load", "write_predictions"]
