"""What Linux says of a process's memory."""

from __future__ import annotations

from pathlib import Path


def in_huge_pages(pid: int | str = "self") -> set[int]:
    """First addresses of the areas that Linux was asked to hold in huge pages."""
    found, first = set[int](), 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word = line.split()[0]
        if "-" in word:
            first = int(word.partition("-")[0], 16)
        elif word == "VmFlags:" and "hg" in line.split():
            found.add(first)
    return found


def resident_bytes() -> int:
    """What this process holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
