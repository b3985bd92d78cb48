from unpool.examples import _spread


def test_examples_are_spread_from_the_first_to_the_last():
    assert _spread(3, 8) == [0, 1, 2]
    assert _spread(100, 4) == [0, 33, 66, 99]
