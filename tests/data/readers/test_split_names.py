"""How near a name must be to that of a split."""

import pytest

from unpool.data.readers.split_names import split_meant


@pytest.mark.parametrize("name", ["validotion", "evaluotion"])
def test_name_that_shares_nine_letters_in_ten_is_that_of_the_split(name):
    assert split_meant(name) == "val"


@pytest.mark.parametrize("name", ["validutoin", "trainung"])  # 8 of 10, 7 of 8
def test_name_that_shares_fewer_is_of_no_split(name):
    assert split_meant(name) is None
