"""A library of linear algebra with OpenBLAS's name and CBLAS's calls, for machines that have none: plain loops in C."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

from tvm.support.cc import get_cc

from rpc.blas import LIBRARIES

_SOURCE = """
int calls = 0;

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float* a, int lda,
                 const float* b, int ldb, float beta, float* c, int ldc) {
  ++calls;
  if (order != 101 || trans_a != 111 || trans_b != 111 || beta != 0) return;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l) sum += a[i * lda + l] * b[l * ldb + j];
      c[i * ldc + j] = alpha * sum;
    }
  }
}
"""


def build(folder: Path) -> Path:
    """The library, in a folder that ``LD_LIBRARY_PATH`` may name."""
    name = LIBRARIES["openblas"]
    source, library = folder / "blas.c", folder / name
    source.write_text(_SOURCE)
    command = [
        str(get_cc()),
        "-x",
        "c",
        "-O2",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{name}",
        "-o",
        str(library),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return library


@functools.cache
def loaded() -> ctypes.CDLL:
    """The library in this process, where whoever asks for OpenBLAS finds it by its name; it counts its ``calls``."""
    with tempfile.TemporaryDirectory() as folder:
        return ctypes.CDLL(str(build(Path(folder))), mode=ctypes.RTLD_GLOBAL)


def calls() -> int:
    """Products that this process had it compute."""
    return ctypes.c_int.in_dll(loaded(), "calls").value
