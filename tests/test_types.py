from unpool.types import DataInfo


def test_info_comes_back_from_json_as_it_was():
    info = DataInfo(classes=("no", "1e3"), palette=((1, 2, 3), (4, 5, 6)), ignore=11, flip_pairs=((0, 1),))
    assert DataInfo.from_json(info.to_json()) == info
