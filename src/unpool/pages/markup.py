"""Text that is HTML already, told apart by its type from text that still has to be escaped."""

import html
import re
from collections.abc import Mapping

# marks that show nothing or turn the direction of writing, so that a name looks like another one
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
VOID = frozenset({"img", "br", "hr", "meta"})


class Markup(str):
    """HTML that is put into a page as it is."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Any value as HTML: `Markup` as it is, other text with its special and invisible characters made visible."""
    if isinstance(value, Markup):
        return value
    visible = HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(value))
    return Markup(html.escape(visible, quote=True))


def element(tag: str, attributes: Mapping[str, object] | None = None, *inside: object) -> Markup:
    """`<tag attributes>inside</tag>`.

    Args:
        tag: written as it is, as are the names of attributes: never take them from data.
        attributes: values are escaped; those that are None are left out.
        inside: children; what is no `Markup` is escaped.
    """
    given = "".join(f' {name}="{escaped(value)}"' for name, value in (attributes or {}).items() if value is not None)
    if tag in VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{''.join(map(escaped, inside))}</{tag}>")


def joined(*parts: object) -> Markup:
    """Parts in a row, escaped where they are no `Markup`."""
    return Markup("".join(map(escaped, parts)))
