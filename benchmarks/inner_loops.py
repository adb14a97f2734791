"""What a kernel's inner loop asks of a core, counted in its assembly: nothing runs, so any core will do.

LLVM's own model of a core may be that of an older one; so instructions are counted, and what bounds them is looked up:
multiply-adds begun a cycle, vectors and values loaded, instructions decoded (``tuner/targets/cores.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tuner.targets.cores import Core

_LABEL = re.compile(r"^([.\w$]+):")
_JUMP = re.compile(r"^(?:b\.?\w*|cbn?z|tbn?z|j\w+)\s+(?:.*,\s*)?([.\w$]+)$")
_FMA = re.compile(r"^(?:fmla(?:\.4s)?|vfn?m(?:add|sub)\d+ps)\s")
_NEON_LOAD = re.compile(r"^(?:ld[rpu]\w*|ld1r?[.\w]*)\s")
_STACK = re.compile(r"\[sp|\([^)]*%r[sb]p")
_COMMENT = re.compile(r"\s*(?://|;|##|# ).*$")


@dataclass(frozen=True)
class Loop:
    """Counts of one pass: ``sums`` are registers that are added to, ``spilled`` reads and writes of the stack."""

    instructions: int
    fmas: int
    loads: int
    sums: int
    spilled: int
    lanes: int

    def cycles(self, core: Core) -> float:
        """The least that a pass takes on a core."""
        per_cycle = core.fma_lanes / self.lanes
        return max(
            self.fmas / per_cycle,
            self.loads / core.loads,
            self.instructions / core.decoded,
            self.fmas * core.fma_latency / self.sums,
        )

    def part_of_peak(self, core: Core) -> float:
        """Of the multiply-adds that the core can begin, those that the loop has, 0..1."""
        return self.fmas / (core.fma_lanes / self.lanes) / self.cycles(core)


def busiest(assembly: str) -> Loop | None:
    """The innermost loop with most multiply-adds for each instruction it takes; None where no loop has any."""
    found = [counted(body) for body in _innermost(assembly)]
    return max((loop for loop in found if loop.fmas), key=lambda loop: loop.fmas / loop.instructions, default=None)


def _innermost(assembly: str) -> Iterator[list[str]]:
    """Bodies of loops without a loop inside: from a label to the last jump back to it, over no other such label."""
    lines = [_COMMENT.sub("", line).strip() for line in assembly.splitlines()]
    labels: dict[str, int] = {}
    previous = -1  # end of the loop before: one that encloses it begins earlier
    for number, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = number
        elif (jump := _JUMP.match(line)) and (start := labels.get(jump[1])) is not None:
            if start > previous:
                yield [one for one in lines[start : number + 1] if one and not _LABEL.match(one) and one[0] != "."]
            previous = number


def counted(body: list[str]) -> Loop:
    """What a loop's instructions are."""
    fmas = [line for line in body if _FMA.match(line)]
    sums = {_added_to(line) for line in fmas}
    widths = {_lanes(line) for line in fmas}
    loads = sum(_loads(line) for line in body)
    return Loop(
        len(body), len(fmas), loads, len(sums), sum(bool(_STACK.search(one)) for one in body), max(widths, default=0)
    )


def _added_to(line: str) -> str:
    """The register of the sum: the first operand of A64, the last in the order of AT&T."""
    operands = line.split(None, 1)[1]
    return operands.split(",")[0].strip() if line.startswith("fmla") else operands.rsplit(",", 1)[1].strip()


def _lanes(line: str) -> int:
    if line.startswith("fmla"):
        return 4
    return {"x": 4, "y": 8, "z": 16}[re.findall(r"%([xyz])mm", line)[-1]]


def _loads(line: str) -> int:
    """Reads of memory: of A64 a pair counts as two, of x86 an operand in memory that is not written."""
    if _NEON_LOAD.match(line):
        return 2 if line.startswith("ldp") else 1
    if "(" not in line or line.startswith(("lea", "prefetch", "cmp", "add", "nop", "test")):
        return 0
    return int(not line.rsplit(",", 1)[-1].strip().endswith(")"))
