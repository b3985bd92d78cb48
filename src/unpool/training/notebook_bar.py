"""A bar in the output of a notebook's cell."""

import html
import sys
from typing import Any


def is_notebook() -> bool:
    """Whether the program is the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


class NotebookBar:
    """As the part of `rich.progress.Progress` that a run needs; `stop` takes it away.

    Args:
        total: of `completed`.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._handle: Any = None

    def update(self, _: object, *, completed: int, description: str, refresh: bool = True) -> None:
        """Shows how much is done, beside a text."""
        from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]

        text = f"<progress value={completed} max={self._total}></progress> {html.escape(description)}"
        if self._handle is None:
            self._handle = display(HTML(text), display_id=True)
        else:
            self._handle.update(HTML(text))

    def stop(self) -> None:
        """Leaves nothing of the bar."""
        if self._handle is not None:
            from IPython.display import HTML  # pyright: ignore[reportMissingImports]

            self._handle.update(HTML(""))
