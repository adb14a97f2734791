"""What peers of the tracker tell of themselves, as far as it can be: who reaches the tracker can tell anything."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tuner.db.devices import PEAK

log = logging.getLogger(__name__)

_MAX_FACTS = 64
_Text = Annotated[str, Field(max_length=300)]
_Count = Annotated[int, Field(strict=True, ge=1, le=4096)]
_Bytes = Annotated[int, Field(strict=True, ge=0, le=2**62)]
_Fact = _Text | _Bytes | float | bool | None | dict[_Text, _Text | _Bytes | float | bool | None]


class _Cuda(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: _Text
    arch: _Text


class _Facts(BaseModel):
    """Those that something is decided by; others are shown as they come."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Fact]
    cpu: _Text = ""
    mcpu: _Text = ""
    mtriple: _Text = ""
    threads: _Count | None = None
    cores: _Count | None = None
    logical_cores: _Count | None = None
    cache_bytes: dict[_Text, _Bytes] = {}
    gpu_cores: _Count | None = None
    memory_bytes: _Bytes = 0
    tvm: _Text = ""
    cuda: _Cuda | None = None

    @model_validator(mode="after")
    def _whole(self) -> _Facts:
        if len({bool(self.mcpu), bool(self.mtriple), self.threads is not None}) > 1:
            raise ValueError("mcpu, mtriple and threads belong together")
        return self


def facts_in(entry: dict[str, Any]) -> dict[str, Any] | None:
    """The facts of one entry of the tracker's summary; empty when it tells none, None when they can't be true.

    A peak is measured here and never told.
    """
    told = entry.get("facts") or {}
    try:
        if not isinstance(told, dict) or len(told) > _MAX_FACTS:
            raise ValueError("facts are a dict of some dozen names")
        _Facts.model_validate(told)
    except (ValidationError, ValueError) as error:
        log.warning("the device at %s tells what can't be: %s", entry.get("addr"), error)
        return None
    return {str(name): value for name, value in told.items() if name != PEAK}
