"""What a user did or has, and the exit code that says so. Everything else that is raised is a fault of ours."""


class UnpoolError(Exception):
    """Base of every error with a cause outside of this code; the message says what was given, expected, and to do."""

    exit_code = 4


class RecipeError(UnpoolError, ValueError):
    """The command line or a recipe is wrong."""

    exit_code = 2


class DataError(UnpoolError, ValueError):
    """An image, label, mask, or the tree they lie in cannot be used."""

    exit_code = 3


class ModelFileError(UnpoolError, ValueError):
    """A run directory, checkpoint or weights file cannot be used."""

    exit_code = 3


class NotConvertible(UnpoolError, ValueError):
    """A network cannot be turned into the one that was asked for; the message names the layer."""

    exit_code = 2


class EnvironmentFault(UnpoolError, RuntimeError):
    """The machine, a package, memory, a disk, or a worker process failed."""

    exit_code = 4


class Diverged(UnpoolError, ArithmeticError):
    """Loss or gradients stopped being finite."""

    exit_code = 5


class TimeLimit(UnpoolError):
    """Stopped at the time limit; the run can be resumed."""

    exit_code = 75


class Stopped(UnpoolError):
    """Stopped by a signal; the run was saved and can be resumed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
