"""Whether a process that is spawned would get what it needs from the program that trains.

A spawned process imports the script again. Where that starts the training outside of `if __name__ == "__main__":`, each
would start another one; what is defined in a notebook or at a prompt is in no file that it could import.
"""

import ast
import pickletools
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import FrameType

from unpool.tracing.foreign import foreign_code

_MAIN = "__main__"


def why_script_cannot() -> str:
    """Why the running script must not spawn processes; empty where it may."""
    file = getattr(sys.modules.get(_MAIN), "__file__", None)
    if file and not Path(file).is_file():
        return f"the program is not in a file ({file}), which each process would import:"
    line = _line_of_script(sys._getframe())
    if not file or line is None or _is_guarded(Path(file), line):
        return ""
    return f'line {line} of {Path(file).name} starts the training outside of `if __name__ == "__main__":`'


def why_unsendable(value: object) -> str:
    """Why another process could not be sent an object; empty where it could."""
    packed = b""
    with foreign_code() as failure:
        packed = bytes(ForkingPickler.dumps(value))
    if failure:
        return f"the data set cannot be sent to a process ({failure})"
    if getattr(sys.modules.get(_MAIN), "__file__", None):
        return ""
    names = {text for _, text, _ in pickletools.genops(packed) if text == _MAIN}
    return "the data set is defined in a notebook or at a prompt, which no process can import" if names else ""


def _line_of_script(frame: FrameType | None) -> int | None:
    """The line at which the script itself is, of the frames that called; None where none is the script's."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == _MAIN:
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guarded(file: Path, line: int) -> bool:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True  # no script of Python's, such as a notebook's kernel; nothing is known against it
    guards = (node for node in tree.body if isinstance(node, ast.If) and _tests_name(node.test))
    return any(node.body[0].lineno <= line <= (node.body[-1].end_lineno or line) for node in guards)


def _tests_name(test: ast.expr) -> bool:
    """Whether an expression compares `__name__` with "__main__"."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    texts = {node.value for node in ast.walk(test) if isinstance(node, ast.Constant)}
    return "__name__" in names and _MAIN in texts
