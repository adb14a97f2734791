"""What stands against loading a library, told from what its file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tuner.artifact.symbols import MODULE_ENTRY, Library, load_check, macos_symbols, problems, read_library
from tuner.errors import LoadCheckFailed
from tuner.targets.blas import without_blas
from tuner.targets.presets import resolve

M1 = resolve("m1-cpu", "local").tvm
GOOD = Library(
    form="Mach-O",
    architecture="aarch64",
    minimum_os="11.0",
    signed=True,
    exported=frozenset({MODULE_ENTRY, "__tvm_ffi_matmul"}),
    undefined=frozenset({"expf", "memcpy", "TVMFFIErrorSetRaisedFromCStrParts"}),
)


def test_a_library_with_all_it_needs_is_let_through() -> None:
    assert problems(GOOD, M1, ["matmul"]) == []
    assert problems(GOOD, resolve("m1-metal", "local").tvm, ["matmul"]) == []


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (replace(GOOD, architecture="x86_64"), ["it is Mach-O x86_64, the target needs Mach-O aarch64"]),
        (replace(GOOD, form="ELF"), ["it is ELF aarch64, the target needs Mach-O aarch64"]),
        (replace(GOOD, exported=frozenset({MODULE_ENTRY})), ["it does not export __tvm_ffi_matmul"]),
        (replace(GOOD, undefined=frozenset({"__intel_avx_rt", "expf"})), ["nothing on a Mac defines __intel_avx_rt"]),
        (replace(GOOD, signed=False), ["it has no code signature, without which an arm64 Mac kills it"]),
        (replace(GOOD, minimum_os="15.2"), ["it asks for macOS 15.2"]),
    ],
)
def test_what_would_not_load_is_named(library: Library, said: list[str]) -> None:
    assert problems(library, M1, ["matmul"]) == said


def test_what_apples_library_exports_is_there_for_a_target_that_declares_it() -> None:
    library = replace(GOOD, undefined=frozenset({"cblas_sgemm"}))
    assert problems(library, M1, ["matmul"]) == []
    assert problems(library, without_blas(M1), ["matmul"]) == ["nothing on a Mac defines cblas_sgemm"]


def test_symbols_for_linux_are_its_loaders_business() -> None:
    library = replace(GOOD, form="ELF", undefined=frozenset({"anything"}), signed=False, minimum_os="")
    assert problems(library, resolve("linux-arm64", "local").tvm, ["matmul"]) == []


def test_macs_define_what_kernels_call() -> None:
    assert {"TVMBackendParallelLaunch", "TVMFFIFunctionCall", "tanhf", "erff", "memset"} <= macos_symbols()
    assert "cudaMalloc" not in macos_symbols()


def test_only_a_device_makes_a_library_load_tested() -> None:
    assert load_check("symbols", M1) == {"load_check": "symbols", "tested": "not load-tested on a Mac"}
    assert load_check("none", resolve("linux-arm64", "local").tvm)["tested"] == "not load-tested on its device"
    assert load_check("device", M1)["tested"] == "loaded and run"


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lib.dylib"
    path.write_text("not a library")
    with pytest.raises(LoadCheckFailed, match=r"lib\.dylib"):
        read_library(path)
