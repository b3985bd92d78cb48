"""Pages in a real browser: they open, draw, sort and enlarge, ask for nothing and complain of nothing."""

import pytest
import torch

import unpool
from tests.pages.browser import Browser, find_browser
from unpool.inspection.arithmetic import show_arithmetic
from unpool.pages import blocks
from unpool.pages.chart import Series, line_chart
from unpool.pages.images import Card, Picture, grid
from unpool.pages.markup import element
from unpool.pages.page import Section, build_page

pytestmark = pytest.mark.slow
PROGRAM = find_browser()
HEADINGS = "[...document.querySelectorAll('thead th')]"
ROWS = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)"
SCREENS = [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("no Chromium is installed, so pages cannot be opened")
    with Browser(PROGRAM, tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture
def page(tmp_path):
    noise = torch.randint(0, 256, (3, 120, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows = [("cat", "91.0 %", 1200.0), ("dog", "n/a", 30.0), ("emu", "9.5 %", 1e-3), ("ant", "100.0 %", -4.0)]
    chart = line_chart("Loss", [Series("training", [(0, 1.0), (1, 0.5), (2, 0.25)])], x="epoch", y="loss")
    cards = [Card(f"<{i}>.png", "loss 1", [Picture("image", noise), Picture("truth", noise)]) for i in range(2)]
    text = build_page(
        "runs/<one>",
        [
            Section("Classes", [blocks.table(rows, headings=("class", "recall", "images"))]),
            Section("Training", [element("div", {"class": "charts"}, chart)]),
            Section("Matrix", [blocks.matrix([[3, 1], [0, 2]], ["a", "b"], rows="truth", columns="prediction")]),
            Section("Examples", [grid(cards)]),
        ],
    )
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on generated scenes."""
    folder = tmp_path_factory.mktemp("run")
    small = {"data.count": 12, "data.workers": 0, "model.width": 4, "train.epochs": 1, "data.augment": ["flip"]}
    small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        unpool.train("scenes_unet", small, run=folder / "run")
    return folder / "run"


def check_quiet(browser, page):
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
    assert browser.errors == []


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_page_opens_draws_everything_and_asks_for_nothing(browser, page, width, scheme):
    browser.requests.clear()
    browser.errors.clear()
    browser.open(page, width=width, scheme=scheme)
    browser.run("Promise.all([...document.images].map(one => (one.loading = 'eager', one.decode())))")
    assert browser.run("[...document.images].every(one => one.naturalWidth > 0)")
    assert browser.run("document.querySelector('.chart path.line').getTotalLength()") > 100
    assert browser.run("document.documentElement.scrollWidth") <= width
    check_quiet(browser, page)


def test_figures_of_a_phone_stay_on_one_line_and_the_names_beside_them_wrap(browser, tmp_path):
    rows = [("rank-1 identification, the higher end of 95 %", "100.0 %"), ("time", "31.3 s")]
    path = tmp_path / "figures.html"
    path.write_text(build_page("run", [Section("Result", [blocks.table(rows, has_figures=True)])]), encoding="utf-8")
    browser.open(path, width=390)
    text = (
        "(cell => { const line = document.createRange(); line.selectNodeContents(cell); return line.getClientRects() })"
    )
    lines = browser.run(f"[...document.querySelectorAll('td')].map(cell => {text}(cell).length)")
    assert lines[1::2] == [1, 1]
    assert browser.run("document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth")


@pytest.mark.parametrize("width", [390, 1440])
def test_page_is_dark_where_the_reader_wants_it_and_text_is_readable(browser, page, width):
    brightness = (
        "(css => { const [r, g, b] = css.match(/[0-9]+/g).map(Number); return (r + g + b) / 765; })"
        "(getComputedStyle(document.body).%s)"
    )
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(page, width=width, scheme=scheme)
        seen[scheme] = [browser.run(brightness % part) for part in ("backgroundColor", "color")]
    assert seen["light"][0] > 0.8 > 0.3 > seen["light"][1]
    assert seen["dark"][0] < 0.2 < 0.7 < seen["dark"][1]


def test_click_on_a_heading_sorts_up_and_then_down_with_absent_values_last(browser, page):
    browser.open(page, width=1440)
    assert browser.run(ROWS)[:4] == ["cat", "dog", "emu", "ant"]
    for expected in (["emu", "cat", "ant", "dog"], ["ant", "cat", "emu", "dog"]):
        browser.run(f"{HEADINGS}[1].click()")
        assert browser.run(ROWS)[:4] == expected
    browser.run(f"{HEADINGS}[2].click()")
    assert browser.run(ROWS)[:4] == ["ant", "emu", "dog", "cat"]
    assert browser.run(f"{HEADINGS}.map(one => one.getAttribute('aria-sort'))")[:3] == [None, None, "ascending"]
    browser.run(f"{HEADINGS}[0].dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter'}}))")
    assert browser.run(ROWS)[:4] == ["ant", "cat", "dog", "emu"]


def test_matrix_keeps_its_order(browser, page):
    browser.open(page, width=1440)
    assert browser.run("document.querySelectorAll('.matrix .sorts').length") == 0


@pytest.mark.parametrize("part", [".card img", ".chart svg"])
def test_click_on_a_picture_enlarges_it_and_escape_closes(browser, page, part):
    browser.open(page, width=390, height=800)
    before = browser.run(f"document.querySelector('{part}').getBoundingClientRect().width")
    browser.run(f"document.querySelector('{part}').dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    shown = "document.querySelector('dialog.zoom > :last-child')"
    assert browser.run("document.querySelector('dialog.zoom').open")
    first = browser.run(f"{shown}.getBoundingClientRect().width")
    assert first > before
    browser.run(f"{shown}.dispatchEvent(new MouseEvent('click', {{clientX: 100, clientY: 100, bubbles: true}}))")
    assert browser.run(f"{shown}.getBoundingClientRect().width") > 2 * first
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
    assert browser.run("document.querySelector('dialog.zoom').open") is False


def test_page_says_the_same_without_its_script(browser, page):
    shown = "document.body.innerText.replace(/\\s+/g, ' ')"
    browser.open(page, width=1440)
    with_script = browser.run(shown)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, width=1440)
        assert browser.run("document.querySelectorAll('.sorts').length") == 0
        assert browser.run(shown) == with_script
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_script_of_somebody_else_does_not_run(browser, page):
    page.write_text(page.read_text().replace("</body>", "<script>document.title = 'hacked'</script></body>"))
    browser.open(page, width=1440)
    assert browser.run("document.title") == "runs/<one>"
    assert browser.run("document.querySelectorAll('.sorts').length") > 0
    browser.errors.clear()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_report_of_a_run_fits_every_screen_and_its_table_of_classes_sorts(browser, run, width, scheme):
    page = run / "report.html"
    browser.requests.clear()
    browser.errors.clear()
    browser.open(page, width=width, scheme=scheme)
    browser.run("Promise.all([...document.images].map(one => (one.loading = 'eager', one.decode())))")
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    heads = "[...document.querySelectorAll('th.sorts')]"
    assert browser.run(f"{heads}.length") >= 5
    browser.run(f"{heads}[0].click()")
    names = f"[...{heads}[0].closest('table').tBodies[0].rows].map(row => row.cells[0].textContent)"
    assert browser.run(names) == sorted(browser.run(names))
    assert browser.run("document.querySelectorAll('.zooms').length") >= 10
    check_quiet(browser, page)


def test_drawing_of_a_convolution_moves_without_a_script(browser, tmp_path):
    path = show_arithmetic(3, size=5, stride=2).save(tmp_path / "move.svg")
    browser.open(path, width=1440)
    where = "(document.documentElement.setCurrentTime(%s), document.querySelector('g').getCTM().e)"
    assert browser.run(where % 0.1) < browser.run(where % 0.9)
    assert browser.run(where % 0.1) == browser.run(where % 3.3)
