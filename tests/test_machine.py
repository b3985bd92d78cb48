from unpool import machine


def test_flags_are_read_as_whole_words(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16_like\n")
    monkeypatch.setattr(machine, "_CPUINFO", info)
    assert machine.processor() == "Some CPU"
    assert machine.flags() == ("avx2",)
