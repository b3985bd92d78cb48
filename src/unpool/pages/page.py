"""A whole page: one HTML file that needs no network, and reads well without its one script."""

from collections.abc import Sequence
from typing import NamedTuple

from unpool.pages.markup import Markup, element, joined
from unpool.pages.script import HASH, SCRIPT
from unpool.pages.style import STYLE

# the browser refuses anything loaded from elsewhere, and every script but ours
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {HASH}; base-uri 'none'; "
    "form-action 'none'"
)


class Section(NamedTuple):
    """A part of a page under a heading; parts without content are left out."""

    title: str
    parts: Sequence[Markup]


def build_page(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """Returns the HTML of a page.

    Args:
        title: its heading, and the title of its window.
        sections: from top to bottom; those without content are left out.
        subtitle: one line below the heading.
    """
    shown = [section for section in sections if any(section.parts)]
    links = [element("a", {"href": f"#part{i}"}, section.title) for i, section in enumerate(shown)]
    header = element(
        "header",
        None,
        element("h1", None, title),
        element("p", {"class": "subtitle"}, subtitle) if subtitle else "",
        element("nav", None, *links) if len(links) > 1 else "",
    )
    body = [
        element("section", {"id": f"part{i}"}, element("h2", None, section.title), *section.parts)
        for i, section in enumerate(shown)
    ]
    head = joined(
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", None, title),
        element("style", None, Markup(STYLE)),
    )
    script = element("script", None, Markup(SCRIPT))
    whole = element("html", {"lang": "en"}, element("head", None, head), element("body", None, header, *body, script))
    return f"<!DOCTYPE html>\n{whole}\n"
