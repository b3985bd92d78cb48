"""From a run directory to predictions on images of any kind and size."""

from unpool.predictor.asked import free_folder, list_images
from unpool.predictor.ensemble import Ensemble
from unpool.predictor.files import write_predictions
from unpool.predictor.loading import Weights, load
from unpool.predictor.predictor import Predictor

__all__ = ["Ensemble", "Predictor", "Weights", "free_folder", "list_images", "load", "write_predictions"]
