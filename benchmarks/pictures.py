"""Makes the pictures of the README: the top of a report and an answer, of a run on generated scenes.

Needs Chromium, which takes the picture of the page.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import unpool
from benchmarks.record import ROOT
from unpool.data.synthetic import Scenes

FOLDER = ROOT / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1000, 1300)  # of the window: width, height
SHOWN = 576  # pixels of the answer's sides


def main() -> int:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser takes the picture: install one of {', '.join(BROWSERS)}")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = unpool.train("scenes_unet", run=Path(folder) / "scenes_unet-1")["run"]
        _photograph(browser, Path(run) / "report.html", Path(folder))
        _answer(run, Path(folder))
    return 0


def _photograph(browser: str, page: Path, folder: Path) -> None:
    """The top of the page, as docs/report.jpg."""
    picture = folder / "page.png"
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    window = f"--window-size={SIZE[0]},{SIZE[1]}"
    command = [
        browser,
        *quiet,
        f"--user-data-dir={folder / 'browser'}",
        window,
        f"--screenshot={picture}",
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    Image.open(picture).convert("RGB").save(FOLDER / "report.jpg", quality=82, optimize=True)


def _answer(run: str, folder: Path) -> None:
    """A scene of the test split with its answer, as docs/answer.jpg."""
    image = Scenes(None, "test", count=1)[0]["image"]
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(folder / "scene.png")
    unpool.predict(Path(run), [folder / "scene.png"], folder / "out")
    view = Image.open(folder / "out" / "scene_view.jpg").convert("RGB")
    times = max(1, SHOWN // max(view.size))
    view.resize((view.width * times, view.height * times), Image.Resampling.NEAREST).save(
        FOLDER / "answer.jpg", quality=88, optimize=True
    )


if __name__ == "__main__":
    sys.exit(main())
