"""What Apple's chips can do at most, and which of them a target is for."""

from __future__ import annotations

from rpc.chips import CHIPS, Chip
from tuner.targets.roofline import Peak

_NEON_LANES = 4 * 4  # of a performance core: four units of four
_MATRIX_LANES = 256  # of the matrix unit that a cluster of performance cores has
MATRIX_UNIT = "AMX"
_GPU_LANES = 128  # of a core of the GPU


def cpu_peak(chip: Chip, cores: int) -> Peak:
    """Of single precision, by NEON on this many performance cores, and by the matrix units beside them."""
    units = {MATRIX_UNIT: round(matrix_flops_per_cycle(chip) * chip.cpu_ghz, 1)}
    return Peak(round(2 * _NEON_LANES * cores * chip.cpu_ghz, 1), chip.gb_per_sec, "computed", units=units)


def matrix_flops_per_cycle(chip: Chip) -> float:
    """Of single precision, by all of a chip's matrix units."""
    return float(2 * _MATRIX_LANES * chip.clusters)


def gpu_peak(chip: Chip, cores: int) -> Peak | None:
    """Of single precision, by a GPU of this many cores."""
    if chip.gpu_ghz is None:
        return None
    return Peak(round(2 * _GPU_LANES * cores * chip.gpu_ghz, 1), chip.gb_per_sec, "computed")


def chip_of(mcpu: str, kind: str) -> Chip | None:
    """The chip of a target's host; None for what is none of these."""
    return next((chip for chip in CHIPS if (chip.mcpu, chip.kind) == (mcpu, kind)), None)
