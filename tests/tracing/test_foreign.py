"""Promises about running code that is not ours."""

import pytest

from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code


@pytest.mark.parametrize(
    "error", [RuntimeError("bad size\nand more"), KeyError("bad size"), ZeroDivisionError("bad size")]
)
def test_first_line_of_any_error_is_kept(error):
    with foreign_code() as failure:
        raise error
    assert failure
    assert failure.error is error
    assert str(failure).strip("'") == "bad size"


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError(""), ValueError("\n")])
def test_error_without_a_message_is_named_by_its_type(error):
    with foreign_code() as failure:
        raise error
    assert str(failure) == type(error).__name__


def test_block_that_ends_well_is_no_failure():
    with foreign_code() as failure:
        pass
    assert not failure


def test_errors_that_pass_are_raised():
    with pytest.raises(NotConvertible, match="refused"), foreign_code(passing=NotConvertible):
        raise NotConvertible("refused")


def test_interrupt_is_never_kept():
    with pytest.raises(KeyboardInterrupt), foreign_code():
        raise KeyboardInterrupt
