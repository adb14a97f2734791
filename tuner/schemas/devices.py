"""Devices and the targets that name them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class DeviceOut(BaseModel):
    """``problem`` says why it gets no work and what to do, as the rest of a sentence; empty when all is well."""

    key: str
    state: str
    problem: str
    facts: dict[str, Any]
    crashes: int
    last_seen: datetime


class ThreadgroupOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    max_threads: int
    memory_bytes: int
    simd_width: int


class TargetOut(BaseModel):
    name: str
    description: str
    tvm: dict[str, Any]
    host_triple: str
    device_key: str
    device_online: bool
    suffix: str
    cores: int | None
    peak_gflops: float | None  # of single precision
    bandwidth_gb_per_sec: float | None
    peak_by_unit: dict[str, float] = {}  # GFLOPS of single precision by units beside the cores, as AMX by Accelerate
    peak_source: Literal["measured", "computed"] | None  # on its device, or from the chip's units and clocks
    threadgroup: ThreadgroupOut | None
