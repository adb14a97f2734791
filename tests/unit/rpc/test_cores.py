from __future__ import annotations

from pathlib import Path

import pytest

from rpc.cores import one_cpu_a_core


def topology(folder: Path, cores: list[str]) -> Path:
    for number, siblings in enumerate(cores):
        cpu = folder / f"cpu{number}" / "topology"
        cpu.mkdir(parents=True)
        (cpu / "thread_siblings_list").write_text(f"{siblings}\n")
    return folder


@pytest.mark.parametrize(
    ("siblings", "allowed", "chosen"),
    [
        (["0", "1", "2"], {0, 1, 2}, [0, 1, 2]),
        (["0,2", "1,3", "0,2", "1,3"], {0, 1, 2, 3}, [0, 1]),
        (["0-1", "0-1", "2-3", "2-3"], {1, 2, 3}, [1, 2]),
        (["0", "1", "2"], {2}, [2]),
    ],
)
def test_each_physical_core_is_taken_once(
    tmp_path: Path, siblings: list[str], allowed: set[int], chosen: list[int]
) -> None:
    assert one_cpu_a_core(allowed, topology(tmp_path, siblings)) == chosen


def test_without_a_topology_every_cpu_counts(tmp_path: Path) -> None:
    assert one_cpu_a_core({4, 2}, tmp_path) == [2, 4]
