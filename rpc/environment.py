"""The environment of processes that run what a search made: enough to compile and to compute, and no secret."""

from __future__ import annotations

from collections.abc import Mapping

# What is left out is what we don't know: a token has any name.
_NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "CC", "CXX", "SDKROOT", "DEVELOPER_DIR", "MACOSX_DEPLOYMENT_TARGET"),
    }
)
_PREFIXES = (
    *("LC_", "LD_", "DYLD_", "PYTHON", "MALLOC_", "FAKETIME"),  # how programs are found, loaded and run
    *("TVM_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "CUDA_", "ZIG_"),  # how they compute and link
)
_SETTINGS, _TOKEN = "TUNER_", "TUNER_TOKEN"


def without_token(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the token that commands show a service: none of its own processes needs one."""
    return {name: value for name, value in environment.items() if name != _TOKEN}


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without any setting of ours, the database's password among them."""
    return {name: value for name, value in environment.items() if not name.startswith(_SETTINGS)}


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment any process of ours may see."""
    return {name: value for name, value in environment.items() if name in _NAMES or name.startswith(_PREFIXES)}
