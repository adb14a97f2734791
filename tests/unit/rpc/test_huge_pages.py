"""Memory that is asked for in huge pages."""

from __future__ import annotations

import mmap
import sys

import numpy as np
import pytest

from rpc import huge_pages
from tests.support.memory import in_huge_pages


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")
def test_whole_huge_pages_of_an_array_are_asked_for() -> None:
    size = 3 * huge_pages.SIZE
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = np.frombuffer(area, np.uint8).ctypes.data
    huge_pages.ask(address, huge_pages.SIZE - 1)  # none is whole
    assert not any(address <= first < address + size for first in in_huge_pages())
    huge_pages.ask(address, size)
    assert any(address <= first < address + size for first in in_huge_pages())
