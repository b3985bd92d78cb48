"""A view is a page, a picture and numbers, and says which of them it can be saved as."""

import pytest
import torch
from PIL import Image

from unpool.errors import EnvironmentFault, RecipeError
from unpool.pages.blocks import note
from unpool.pages.page import Section
from unpool.pages.view import View

RED = torch.tensor([200, 10, 20], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 4, 6)
VIEW = View("filters", [Section("First layer", [note("a <filter>")])], {"layers": 1}, RED, "<svg></svg>")


@pytest.mark.parametrize("picture", [RED, RED[:1]])
def test_view_saves_its_picture_as_it_is(tmp_path, picture):
    with Image.open(VIEW._replace(picture=picture).save(tmp_path / "a.png")) as image:
        assert image.size == (6, 4)
        assert image.getpixel((2, 1)) == ((200, 10, 20) if len(picture) == 3 else 200)


def test_view_saves_page_and_drawing(tmp_path):
    assert "a &lt;filter&gt;" in VIEW.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert VIEW.save(tmp_path / "a.svg").read_text(encoding="utf-8") == "<svg></svg>"


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.svg", "a.jpg"])
def test_view_names_what_it_can_be_saved_as(tmp_path, name):
    with pytest.raises(RecipeError, match=r"saved as \.html, not as"):
        VIEW._replace(picture=None, drawing="").save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_view_replaces_no_file_and_names_a_folder_that_is_not_there(tmp_path):
    path = VIEW.save(tmp_path / "a.html")
    with pytest.raises(RecipeError, match="exists already"):
        VIEW.save(path)
    with pytest.raises(EnvironmentFault, match=r"cannot write .*nowhere"):
        VIEW.save(tmp_path / "nowhere" / "a.html")


def test_notebook_shows_the_page_in_a_frame_that_reaches_nothing_of_the_notebook():
    shown = VIEW._repr_html_()
    assert shown.startswith("<iframe ")
    assert "allow-same-origin" not in shown
    assert "&lt;h2&gt;First layer&lt;/h2&gt;" in shown
    assert "<h2>" not in shown
