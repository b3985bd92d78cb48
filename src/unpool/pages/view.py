"""What a look at a network gives: its page, its picture and its numbers in one object, for files and notebooks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from unpool.errors import EnvironmentFault, RecipeError, quoted
from unpool.pages.markup import Markup, element
from unpool.pages.page import Section, build_page

_HEIGHT = 640  # CSS pixels of a page in a notebook


class View(NamedTuple):
    """Sections to read, a picture to look at, values to compute with.

    Attributes:
        title: one line.
        sections: of its page.
        values: its numbers, as JSON.
        picture: (3, H, W) or (1, H, W) uint8, what `save` writes as an image; None where there is none.
        drawing: the same as SVG; empty where there is none.
        subtitle: one line below the title.

    Example:
        >>> from unpool.pages.blocks import table
        >>> view = View("sizes", [Section("Layers", [table([["conv1", 64]])])], {"conv1": 64})
        >>> view.to_json(), "conv1" in view.to_page()
        ({'conv1': 64}, True)
    """

    title: str
    sections: Sequence[Section]
    values: Mapping[str, Any]
    picture: Tensor | None = None
    drawing: str = ""
    subtitle: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(self.values)

    def to_page(self) -> str:
        """Returns the HTML of a page that loads nothing from elsewhere."""
        return build_page(self.title, self.sections, subtitle=self.subtitle)

    def save(self, path: str | Path) -> Path:
        """Writes what the name's ending asks for: a page (.html), the picture (.png, .jpg) or the drawing (.svg).

        Raises:
            RecipeError: the file exists, or there is nothing of that kind.
            EnvironmentFault: it cannot be written.
        """
        path = Path(path)
        if path.exists():
            raise RecipeError(f"{path} exists already and is not replaced; choose another path")
        try:
            self._write(path)
        except OSError as error:
            raise EnvironmentFault(f"cannot write {path}: {error.strerror or error}; choose another path") from error
        return path

    def _write(self, path: Path) -> None:
        ending = path.suffix.lower()
        if ending == ".html":
            path.write_text(self.to_page(), encoding="utf-8")
        elif ending == ".svg" and self.drawing:
            path.write_text(self.drawing, encoding="utf-8")
        elif ending in (".png", ".jpg", ".jpeg") and self.picture is not None:
            array = self.picture.detach().cpu().permute(1, 2, 0).contiguous().numpy()
            Image.fromarray(array[..., 0] if len(self.picture) == 1 else array).save(path)
        else:
            kinds = [".html", *([".png", ".jpg"] if self.picture is not None else []), *([".svg"] * bool(self.drawing))]
            raise RecipeError(f"{self.title} is saved as {' or '.join(kinds)}, not as {quoted(path.name)}")

    def _repr_html_(self) -> Markup:
        """Returns the page in a frame of its own, so that a notebook's style and the page's leave each other alone."""
        style = f"width:100%;height:{_HEIGHT}px;border:0"
        return element("iframe", {"srcdoc": self.to_page(), "sandbox": "allow-scripts", "style": style})
