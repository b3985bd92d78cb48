"""Networks whose output is an embedding: images of one person lie near one another. A new one is one new file here.

`num_classes` is the length of the embedding; its length is made 1 by the task, not here. Any classifier can be used in
their place: what it calls scores is the embedding then.
"""

from unpool.models.catalog import Variant
from unpool.models.embedding import deepface, embedder, facenet, siamese

MODULES = (deepface, siamese, facenet, embedder)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
