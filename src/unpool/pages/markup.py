"""HTML text, distinguished by its type from text that must still be escaped."""

import html
import re
from collections.abc import Mapping

# invisible characters and those that change the direction of writing, so that a name looks like another one
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
VOID = frozenset({"img", "br", "hr", "meta"})


class Markup(str):
    """HTML, which is not escaped again."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Returns a value as HTML: `Markup` unchanged, any other text escaped and its invisible characters made visible."""
    if isinstance(value, Markup):
        return value
    visible = HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(value))
    return Markup(html.escape(visible, quote=True))


def element(tag: str, attributes: Mapping[str, object] | None = None, *inside: object) -> Markup:
    """Makes `<tag attributes>inside</tag>`.

    Args:
        tag: not escaped, like the names of attributes: never take them from data.
        attributes: values by name; values are escaped, and those that are None are left out.
        inside: children; those that are no `Markup` are escaped.
    """
    written = "".join(f' {name}="{escaped(value)}"' for name, value in (attributes or {}).items() if value is not None)
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{''.join(map(escaped, inside))}</{tag}>")


def joined(*parts: object) -> Markup:
    """Concatenates parts; those that are no `Markup` are escaped."""
    return Markup("".join(map(escaped, parts)))
