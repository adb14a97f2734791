"""Arrays and PyTorch's tensors over one memory.

A module's weights take the place of all else in the caches at each call: what runs beside it is slow for its size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tuner.artifact.members import ArtifactError


def array_of(value: Any) -> np.ndarray:
    """A tensor as an array that shares its memory. Raises ArtifactError for one that is elsewhere than on the CPU."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    if value.device.type != "cpu":
        raise ArtifactError(f"This module takes tensors of the CPU; got one of {value.device}. Move it: tensor.cpu().")
    return (value.detach() if value.requires_grad else value).numpy()


def tensors_of(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Outputs as tensors that share their memory."""
    return {name: _tensor(value) for name, value in values.items()}


def _tensor(value: Any) -> torch.Tensor:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else torch.from_dlpack(value)
