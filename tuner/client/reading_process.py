"""``python -m tuner.client.reading_process ORDER.json RESULT.json``: one runtime, in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tuner.client.runtimes import Logits, opened

_LEAST_CALLS = 20


def main() -> None:
    """Load, read each text alone until the times are steady, rest, and once more; what fails is the result's error."""
    order = json.loads(Path(sys.argv[1]).read_bytes())
    try:
        result = _read(order)
    except Exception as error:  # of whatever kind each runtime has
        result = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    Path(sys.argv[2]).write_text(json.dumps(result))


def _read(order: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    call = opened(order["backend"], Path(order["place"]), order["threads"])
    load_ms = (time.perf_counter() - started) * 1e3
    with np.load(order["texts"]) as arrays:
        names = sorted({key.partition("/")[0] for key in arrays.files})
        count = len(arrays.files) // len(names)
        texts = [{name: arrays[f"{name}/{number}"] for name in names} for number in range(count)]
    first_ms, logits = _timed(call, texts[0])
    found = [logits, *(call(text) for text in texts[1:])]
    times = [_timed(call, text)[0] for _ in range(-(-_LEAST_CALLS // count)) for text in texts]
    time.sleep(order["idle_sec"])
    after_idle_ms, _ = _timed(call, texts[0])
    memory = psutil.Process().memory_info()
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "times_ms": times,
        "after_idle_ms": after_idle_ms,
        "memory_bytes": memory.rss,
        "logits": np.concatenate(found).tolist(),
    }


def _timed(call: Logits, text: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    logits = call(text)
    return (time.perf_counter() - started) * 1e3, logits


if __name__ == "__main__":
    main()
