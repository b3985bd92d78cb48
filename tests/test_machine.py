from unpool import machine


def test_flags_are_read_as_whole_words(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16_like\n")
    monkeypatch.setattr(machine, "CPUINFO", info)
    assert machine.processor() == "Some CPU"
    assert machine.flags() == ("avx2",)


def test_processor_of_a_system_that_does_not_tell_has_a_name_and_no_flags(tmp_path, monkeypatch):
    for missing in (tmp_path / "cpuinfo", tmp_path):
        monkeypatch.setattr(machine, "CPUINFO", missing)
        assert machine.processor()
        assert machine.flags() == ()


def test_free_memory_is_known_where_the_system_has_no_limits_of_resources(monkeypatch):
    monkeypatch.setattr(machine, "resource", None)  # as on Windows
    assert machine.free_bytes() > 0
