import base64
import re
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from unpool.pages import blocks
from unpool.pages.images import Card, Picture, grid, jpeg_uri
from unpool.pages.markup import element
from unpool.pages.page import Section, build_page
from unpool.pages.style import STYLE


def read_jpeg(uri):
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(BytesIO(base64.b64decode(data)))


def test_picture_is_a_jpeg_of_the_image():
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    image[0, :, 15:] = 255
    pixels = np.array(read_jpeg(jpeg_uri(image)).convert("RGB")).astype(int)
    assert pixels.shape == (20, 30, 3)
    assert np.abs(pixels - image.permute(1, 2, 0).numpy()).max() < 12


def test_picture_of_one_channel_is_grey():
    assert read_jpeg(jpeg_uri(torch.full((1, 8, 9), 7, dtype=torch.uint8))).mode == "L"


def test_a_large_picture_is_made_smaller_in_proportion():
    assert read_jpeg(jpeg_uri(torch.zeros(3, 500, 2000, dtype=torch.uint8))).size == (480, 120)


@pytest.mark.parametrize("image", [torch.zeros(3, 4, 4), torch.zeros(4, 4, 4, dtype=torch.uint8)])
def test_a_picture_that_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r"\(3, H, W\) or \(1, H, W\) uint8"):
        jpeg_uri(image)


def test_card_without_truth_shows_two_pictures():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    made = grid(
        [Card("<b>.png", "loss 1", (Picture("image", image), Picture("truth", None), Picture("prediction", image)))]
    )
    assert made.count("<img ") == 2
    assert "&lt;b&gt;.png: image" in made
    assert "<b>.png" not in made


def test_small_pictures_are_enlarged_pixel_by_pixel_and_large_ones_are_not():
    def card(side):
        return grid([Card("x", "", [Picture("image", torch.zeros(3, side, side, dtype=torch.uint8))])])

    assert 'class="pixels"' in card(32)
    assert 'class="pixels"' not in card(200)


def test_only_picture_of_a_card_is_large():
    image = torch.zeros(3, 900, 600, dtype=torch.uint8)
    alone = grid([Card("x", "", [Picture("", image)])])
    beside = grid([Card("x", "", [Picture("a", image), Picture("b", image)])])
    sizes = [[read_jpeg(uri).size for uri in re.findall(r'src="([^"]*)"', made)] for made in (alone, beside)]
    assert sizes == [[(533, 800)], [(320, 480), (320, 480)]]
    assert 'class="cards single"' in alone
    assert 'class="cards wide"' in beside


def test_right_and_wrong_are_said_in_words_and_not_in_colour_alone():
    def verdicts(is_right):
        card = Card("x", "", [Picture("", torch.zeros(3, 8, 8, dtype=torch.uint8))], is_right=is_right)
        return re.findall(r'class="verdict (\w+)">(\w+)<', grid([card]))

    assert [verdicts(one) for one in (True, False, None)] == [[("right", "right")], [("wrong", "wrong")], []]


def test_exact_pictures_keep_their_pixels():
    noise = torch.randint(0, 256, (1, 300, 310), dtype=torch.uint8)
    made = grid([Card("x", "", [Picture("noisy", noise), Picture("clean", noise)], is_exact=True)])
    shown = read_jpeg(re.findall(r'src="([^"]*)"', made)[0])
    assert shown.size == (310, 300)
    assert np.abs(np.array(shown).astype(int) - noise[0].numpy()).mean() < 5
    assert 'class="row exact"' in made


def test_warning_begins_with_the_word():
    assert blocks.warning("<b>") == '<p class="warning"><b>Warning: </b>&lt;b&gt;</p>'


def test_matrix_of_large_counts_writes_shares_and_keeps_the_counts():
    made = blocks.matrix([[3, 1], [0, 0]], ["a", "b"], rows="truth", columns="prediction", in_shares=True)
    assert re.findall(r'title="([^"]*)">([\d.]*)<', made)[:3] == [
        ("3 of 4", "75.0"),
        ("1 of 4", "25.0"),
        ("0 of 0", ""),
    ]


def test_bar_is_as_long_as_its_share_and_absent_ones_are_empty():
    made = blocks.bars([blocks.Bar("a", 0.25, "25 %"), blocks.Bar("b", None, "absent"), blocks.Bar("c", 7.0, "700 %")])
    assert re.findall(r"width:[\d.]+%?", made) == ["width:25.0%", "width:0", "width:100.0%"]


def test_matrix_marks_the_share_of_each_row():
    made = blocks.matrix([[3, 1], [0, 0]], ["a", "b"], rows="truth", columns="prediction")
    assert re.findall(r'class="(right|wrong)" style="--share:([\d.]+)">(\d*)<', made) == [
        ("right", "0.750", "3"),
        ("wrong", "0.250", "1"),
        ("wrong", "0.000", ""),
        ("right", "0.000", ""),
    ]


def test_table_puts_numbers_at_the_right():
    made = blocks.table([("a", 3)], headings=("name", "count"))
    assert '<td>a</td><td class="number">3</td>' in made


def test_legend_shows_the_colour_of_each_class():
    assert 'style="background:rgb(1,2,3)"></i>&lt;car&gt;' in blocks.legend([("<car>", (1, 2, 3))])


def test_listing_keeps_lines_and_escapes():
    assert blocks.listing("a: <b>\n  c") == "<pre>a: &lt;b&gt;\n  c</pre>"


def test_empty_sections_are_left_out_with_their_links():
    made = build_page("title", [Section("One", [element("p")]), Section("Two", []), Section("Three", [element("p")])])
    assert re.findall(r"<h2>(\w+)", made) == ["One", "Three"]
    assert re.findall(r'href="#(\w+)"', made) == re.findall(r'section id="(\w+)"', made)


def test_page_is_well_formed_and_needs_nothing_from_elsewhere():
    made = build_page(
        "<title>", [Section("<h2>", [blocks.note("http://example.org <script>alert(1)</script>")])], subtitle="<i>"
    )
    tags = balanced_tags(made)
    assert tags.count("script") == 1
    assert tags.count("link") == tags.count("iframe") == tags.count("i") == 0
    assert not re.search(r"(src|href)=\"(?!data:|#)", made)
    assert "default-src 'none'" in made.replace("&#x27;", "'")
    assert made.startswith("<!DOCTYPE html>\n<html ")


def test_policy_allows_the_one_script_and_no_other():
    made = build_page("title", [Section("One", [element("p")])])
    script = re.search("<script>(.*?)</script>", made, re.DOTALL)[1]
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]*);", made.replace("&#x27;", "'")) == [f"'sha256-{digest}'"]


def test_style_takes_nothing_from_elsewhere_and_knows_both_schemes():
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert "prefers-color-scheme: dark" in STYLE
    assert set(re.findall(r"var\((--[\w-]+)\)", STYLE)) - {"--share"} <= set(re.findall(r"(--[\w-]+):", STYLE))


def balanced_tags(text):
    """Names of all tags; fails where one is not closed in order."""
    seen, open_tags = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)
            if tag not in ("meta", "img", "br", "hr"):
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(text)
    assert not open_tags
    return seen
