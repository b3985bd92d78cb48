"""Networks on dilated backbones are built many times here."""

from tests.dilated_once import dilated_once  # noqa: F401, an autouse fixture
