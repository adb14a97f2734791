"""Apple's chips as far as targets need them: cores, clocks, memory. Pure data.

Cores and memory are Apple's own figures for the largest of each kind; what a Mac says of itself goes before them.
Clocks are what measurements of the chips agree on; None where they don't: a GPU's peak is then not known.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuner.targets.roofline import Peak

_NEON_LANES = 4 * 4  # of a performance core: four units of four
_GPU_LANES = 128  # of a core of the GPU


@dataclass(frozen=True)
class Chip:
    """``name`` as in ``m4-pro``, ``title`` as in "Apple M4 Pro", ``mcpu`` as LLVM calls its performance cores."""

    name: str
    cores: int
    cpu_ghz: float
    gpu_cores: int
    gpu_ghz: float | None
    gb_per_sec: float

    @property
    def mcpu(self) -> str:
        return f"apple-{self.name.partition('-')[0]}"

    @property
    def kind(self) -> str:
        """``pro``, ``max``, ``ultra``, or empty."""
        return self.name.partition("-")[2]

    @property
    def title(self) -> str:
        return f"Apple {self.name.replace('-', ' ').title()}"

    def cpu_peak(self, cores: int) -> Peak:
        """Of single precision, by NEON on this many performance cores."""
        return Peak(round(2 * _NEON_LANES * cores * self.cpu_ghz, 1), self.gb_per_sec, "computed")

    def gpu_peak(self, cores: int) -> Peak | None:
        """Of single precision, by a GPU of this many cores."""
        if self.gpu_ghz is None:
            return None
        return Peak(round(2 * _GPU_LANES * cores * self.gpu_ghz, 1), self.gb_per_sec, "computed")


CHIPS = (
    Chip("m1", 4, 3.2, 8, 1.278, 68.3),
    Chip("m1-pro", 8, 3.2, 16, 1.296, 204.8),
    Chip("m1-max", 8, 3.2, 32, 1.296, 409.6),
    Chip("m1-ultra", 16, 3.2, 64, 1.296, 819.2),
    Chip("m2", 4, 3.5, 10, 1.398, 102.4),
    Chip("m2-pro", 8, 3.5, 19, 1.398, 204.8),
    Chip("m2-max", 8, 3.7, 38, 1.398, 409.6),
    Chip("m2-ultra", 16, 3.7, 76, 1.398, 819.2),
    Chip("m3", 4, 4.05, 10, 1.38, 102.4),
    Chip("m3-pro", 6, 4.05, 18, 1.38, 153.6),
    Chip("m3-max", 12, 4.05, 40, 1.38, 409.6),
    Chip("m3-ultra", 24, 4.05, 80, 1.38, 819.2),
    Chip("m4", 4, 4.4, 10, None, 120.0),
    Chip("m4-pro", 10, 4.5, 20, None, 273.1),
    Chip("m4-max", 12, 4.5, 40, None, 546.1),
    Chip("m5", 4, 4.6, 10, None, 153.6),
    Chip("m5-pro", 6, 4.6, 20, None, 307.2),
    Chip("m5-max", 6, 4.6, 40, None, 614.4),
)


def chip_of(mcpu: str, kind: str) -> Chip | None:
    """The chip of a target's host; None for what is none of these."""
    return next((chip for chip in CHIPS if (chip.mcpu, chip.kind) == (mcpu, kind)), None)
