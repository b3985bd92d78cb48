"""The notebook of the first hour runs in a real kernel, shows tables and pictures, and leaves no process behind."""

from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "first_hour.ipynb"


def html_of(cell):
    return "".join(out["data"].get("text/html", "") for out in cell.outputs if "data" in out)


def text_of(cell):
    return "".join(out.get("text", "") for out in cell.outputs)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
        client.execute()
    return notebook, folder


@pytest.mark.slow
def test_cells_show_scores_pictures_and_what_is_done(executed):
    notebook, _ = executed
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    training, prediction = cells[2], cells[4]
    said = text_of(training)
    assert "reading 96 images" in said
    shown = html_of(training)
    assert all(f"epoch {number}/4" in said + shown for number in (1, 2, 3, 4))
    assert "<table" in shown
    assert "mean IoU" in shown
    assert html_of(prediction).count("<img") == 4
    assert "<progress" not in shown  # the bar is gone at the end


@pytest.mark.slow
def test_no_process_is_left(executed):
    _, folder = executed
    commands = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(folder) in command]


def test_the_file_holds_no_output():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
