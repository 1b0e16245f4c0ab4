"""Kernels are built once, found again, and never required."""

from __future__ import annotations

import ctypes

import pytest

from minna.native import build

ADD = 'extern "C" int add(int a, int b) { return a + b; }\n'


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A source folder and a cache of its own; nothing remembered from other tests."""
    (tmp_path / "csrc").mkdir()
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(build.SWITCH, raising=False)
    monkeypatch.setattr(build.resources, "files", lambda _: tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    build.library.cache_clear()
    build._compiler.cache_clear()


@pytest.fixture
def compiler(workshop):
    if (reason := build.why_not()) is not None:
        pytest.skip(f"no native kernels here: {reason}")
    return workshop


def test_a_kernel_is_built_once_and_found_again(compiler):
    (compiler / "csrc" / "add.cpp").write_text(ADD)
    library = build.library("add", cost="it is slower")
    assert isinstance(library, ctypes.CDLL) and library.add(2, 3) == 5
    (built,) = (compiler / "cache" / "native").glob("add-*.so")
    before = built.stat().st_mtime_ns
    build.library.cache_clear()
    assert build.library("add", cost="it is slower").add(4, 5) == 9
    assert built.stat().st_mtime_ns == before


def test_another_source_or_header_is_another_library(compiler):
    source, header = compiler / "csrc" / "add.cpp", compiler / "csrc" / "more.h"
    source.write_text(ADD)
    header.write_text("// one\n")
    build.library("add", cost="it is slower")
    header.write_text("// two\n")
    build.library.cache_clear()
    build.library("add", cost="it is slower")
    source.write_text(ADD.replace("a + b", "a - b"))
    build.library.cache_clear()
    assert build.library("add", cost="it is slower").add(2, 3) == -1
    assert len(list((compiler / "cache" / "native").glob("add-*.so"))) == 3


def test_a_library_cut_short_is_built_again(compiler):
    (compiler / "csrc" / "sub.cpp").write_text(ADD.replace("add", "sub").replace("a + b", "a - b"))
    folder = compiler / "cache" / "native"
    folder.mkdir(parents=True)
    key = build._key("sub", [build._compiler(), *build._FLAGS, *build._torch_flags()])
    (folder / f"sub-{key}.so").write_bytes(b"\x7fELF then nothing")
    assert build.library("sub", cost="it is slower").sub(5, 3) == 2


def test_a_compiler_that_fails_costs_one_line_and_leaves_nothing(compiler, capsys):
    (compiler / "csrc" / "bad.cpp").write_text("this is not C++\n")
    assert build.library("bad", cost="training takes longer") is None
    assert build.library("bad", cost="training takes longer") is None
    said = capsys.readouterr().err
    assert said.count("no native kernels (bad)") == 1
    assert "failed" in said and "error" in said and "training takes longer" in said
    assert not list((compiler / "cache" / "native").glob("*.so"))


def test_no_compiler_is_said_with_the_remedy(workshop, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(build, "_instructions", lambda: "avx512f")
    monkeypatch.setattr(build.sys, "platform", "linux")
    monkeypatch.setattr(build.platform, "machine", lambda: "x86_64")
    assert build.library("add", cost="it is slower") is None
    said = capsys.readouterr().err
    assert "no C++ compiler no-such-compiler here (install g++, or set CXX)" in said


@pytest.mark.parametrize(
    ("platform", "machine", "instructions", "reason"),
    [
        ("darwin", "arm64", "", "this is darwin on arm64"),
        ("linux", "aarch64", "", "this is linux on aarch64"),
        ("linux", "x86_64", "avx avx2 fma", "no AVX-512"),
    ],
)
def test_another_machine_falls_back_in_words(
    workshop, monkeypatch, capsys, platform, machine, instructions, reason
):
    monkeypatch.setattr(build.sys, "platform", platform)
    monkeypatch.setattr(build.platform, "machine", lambda: machine)
    monkeypatch.setattr(build, "_instructions", lambda: instructions)
    assert build.library("add", cost="attention takes 4 times as long") is None
    said = capsys.readouterr().err
    assert reason in said and "attention takes 4 times as long" in said
    assert reason in build.why_not()


def test_a_cache_that_cannot_be_written_is_no_error(compiler, monkeypatch, capsys):
    (compiler / "csrc" / "add.cpp").write_text(ADD)
    (compiler / "file").write_text("")
    monkeypatch.setenv("MINNA_CACHE", str(compiler / "file"))
    assert build.library("add", cost="it is slower") is None
    assert "cannot be used" in capsys.readouterr().err


def test_the_switch_is_obeyed_without_a_word(workshop, monkeypatch, capsys):
    monkeypatch.setenv(build.SWITCH, "torch")
    assert build.library("add", cost="it is slower") is None
    assert build.switched_off() and capsys.readouterr().err == ""
