"""One add kernel, built here and run on a device: ``python -m rpc.probe --port PORT --key KEY`` prints JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rpc.drafts import draft
from rpc.lean import importing, prepare_lean_import
from rpc.lifeline import die_with_parent

_ELEMENTS = 1024


def probe(host: str, port: int, key: str, timeout_sec: float) -> dict[str, Any]:
    """Seconds each step of a round trip took, and the device's facts.

    Raises:
        DeviceUnavailable, SessionLost: as `rpc.lease.lease` does.
        RuntimeError: the kernel can't be built or its result is wrong.
    """
    import numpy as np
    import tvm

    from rpc.lease import lease

    with draft(Path(tempfile.gettempdir()), "tunesmith-probe-") as folder:
        library = folder / "add.so"
        start = time.monotonic()
        _build_add(library)
        built = time.monotonic()
        with lease(host, port, key, timeout_sec, session_timeout_sec=timeout_sec) as session:
            leased = time.monotonic()
            session.upload(bytearray(library.read_bytes()), library.name)  # given a path, TVM leaves the file open
            kernel = session.load_module(library.name)["add"]
            values = np.arange(_ELEMENTS, dtype="float32")
            arguments = [tvm.runtime.tensor(array, session.cpu(0)) for array in (values, values, np.zeros_like(values))]
            kernel(*arguments)
            if not np.array_equal(arguments[2].numpy(), values + values):
                raise RuntimeError("the device added wrongly")
            facts = json.loads(session.get_function("tunesmith.device_facts")())
            done = time.monotonic()
    return {"build_sec": built - start, "lease_sec": leased - built, "round_trip_sec": done - leased, "facts": facts}


def _build_add(library: Path) -> None:
    import tvm
    from tvm import te

    a, b = (te.placeholder((_ELEMENTS,), "float32", name) for name in ("a", "b"))
    c = te.compute((_ELEMENTS,), lambda i: a[i] + b[i], "c")
    function = te.create_prim_func([a, b, c]).with_attr("global_symbol", "add")
    tvm.compile(tvm.IRModule({"add": function}), target="llvm").export_library(str(library))


def main() -> None:
    """Print the result as JSON, or the reason it failed on standard error with exit code 1."""
    parser = argparse.ArgumentParser(description="Build an add kernel and run it on a device.")
    parser.add_argument("--host", default="127.0.0.1", help="the tracker's address (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="the tracker's port")
    parser.add_argument("--key", default="local", help="the device's key (default: %(default)s)")
    parser.add_argument("--timeout-sec", type=float, default=30.0, help="how long to wait (default: %(default)g)")
    args = parser.parse_args()
    die_with_parent()
    prepare_lean_import()
    with importing():
        import tvm  # noqa: F401
    try:
        print(json.dumps(probe(args.host, args.port, args.key, args.timeout_sec)))
    except Exception as error:
        sys.exit(str(error).strip() or repr(error))


if __name__ == "__main__":
    main()
