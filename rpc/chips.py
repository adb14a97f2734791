"""Apple's chips as far as anything here asks: names, cores, clocks, memory. Pure data; each is a target of its own.

Cores and memory are Apple's own figures for the largest of each kind; what a Mac says of itself goes before them.
Clocks are what measurements of the chips agree on; None where they don't: a GPU's peak is then not known.

Clusters: of the M1 and M2 families by Linux's device trees (``arch/arm64/boot/dts/apple``: t8103, t600x, t8112, t602x;
an Ultra is two dies). M3 Pro and Max (one and two of six): H. Oakley, "M3 CPU cores have become more versatile" (The
Eclectic Light Company, January 2024). M4 family (one of four, two of five, two of six): his "Inside M4 chips: P cores"
(November 2024). M3 and M3 Ultra follow from these (four cores as before them; two dies of a Max). Those of the M5
family are unsourced: taken to be what so many cores were before.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """``name`` as in ``m4-pro``, ``title`` as in "Apple M4 Pro", ``mcpu`` as LLVM calls its performance cores, which
    lie in ``clusters`` that share a matrix unit each."""

    name: str
    cores: int
    clusters: int
    cpu_ghz: float
    gpu_cores: int
    gpu_ghz: float | None
    gb_per_sec: float

    @property
    def generation(self) -> int:
        """4 of an M4."""
        return int(self.name.partition("-")[0].removeprefix("m"))

    @property
    def kind(self) -> str:
        """``pro``, ``max``, ``ultra``, or empty."""
        return self.name.partition("-")[2]

    @property
    def mcpu(self) -> str:
        """LLVM's name."""
        return f"apple-m{self.generation}"

    @property
    def title(self) -> str:
        """Apple's name."""
        return f"Apple {self.name.replace('-', ' ').title()}"


# Of each generation the plainest first.
CHIPS = (
    Chip("m1", 4, 1, 3.2, 8, 1.278, 68.3),
    Chip("m1-pro", 8, 2, 3.2, 16, 1.296, 204.8),
    Chip("m1-max", 8, 2, 3.2, 32, 1.296, 409.6),
    Chip("m1-ultra", 16, 4, 3.2, 64, 1.296, 819.2),
    Chip("m2", 4, 1, 3.5, 10, 1.398, 102.4),
    Chip("m2-pro", 8, 2, 3.5, 19, 1.398, 204.8),
    Chip("m2-max", 8, 2, 3.7, 38, 1.398, 409.6),
    Chip("m2-ultra", 16, 4, 3.7, 76, 1.398, 819.2),
    Chip("m3", 4, 1, 4.05, 10, 1.38, 102.4),
    Chip("m3-pro", 6, 1, 4.05, 18, 1.38, 153.6),
    Chip("m3-max", 12, 2, 4.05, 40, 1.38, 409.6),
    Chip("m3-ultra", 24, 4, 4.05, 80, 1.38, 819.2),
    Chip("m4", 4, 1, 4.4, 10, None, 120.0),
    Chip("m4-pro", 10, 2, 4.5, 20, None, 273.1),
    Chip("m4-max", 12, 2, 4.5, 40, None, 546.1),
    Chip("m5", 4, 1, 4.6, 10, None, 153.6),
    Chip("m5-pro", 6, 1, 4.6, 20, None, 307.2),
    Chip("m5-max", 6, 1, 4.6, 40, None, 614.4),
)
