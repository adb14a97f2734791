"""Load an artifact on a device of the fleet, run it, time it.

Where the model's import is still cached, what it computes is compared with PyTorch's; else that it computes numbers.
What came of it is written to the database.
"""

from __future__ import annotations

import json
import logging
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from rpc.drafts import draft
from rpc.errors import DeviceUnavailable, RpcError
from tuner.artifact.loader import example_inputs
from tuner.bench.stats import summarise
from tuner.compiler.module import read_manifest
from tuner.config import Settings
from tuner.db import artifacts, device_checks
from tuner.db.engine import read, write
from tuner.db.models import Job
from tuner.errors import InvalidInput, TunerError, VerificationFailed
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.jobs.artifact_files import locate
from tuner.jobs.making import Module, verification
from tuner.kernels.precision import FULL
from tuner.measuring.identity import expected_of
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.remote import RemoteModule, session
from tuner.schemas import CheckState
from tuner.targets.blas import name_of

log = logging.getLogger(__name__)

_ROUNDS, _PER_ROUND = 3, 5


def check(settings: Settings, engine: Engine, artifact_id: str, key: str) -> None:
    """Run an artifact on a device and write down what came of it; nothing where the device does not come."""
    state: CheckState
    found: dict[str, Any]
    try:
        state, found = "loaded", _found(settings, engine, artifact_id, key)
    except DeviceUnavailable as error:
        log.info("%s was not checked on %s: %s", artifact_id, key, error.message)
        state, found = "wanted", {}
    except (TunerError, RpcError) as error:
        state, found = "failed", {"error": error.message}
    except Exception as error:  # TVM raises its own kinds, for what a device can't load among others
        log.exception("%s does not run on %s", artifact_id, key)
        state, found = "failed", {"error": str(error).strip().splitlines()[-1][:300] or type(error).__name__}
    with write(engine) as db:
        device_checks.set_state(db, artifact_id, key, state, found)


def _found(settings: Settings, engine: Engine, artifact_id: str, key: str) -> dict[str, Any]:
    with read(engine) as db:
        artifact = artifacts.get(db, artifact_id)
        job = db.get(Job, artifact.job_id)
    imported = cache.find(settings.imports_dir, job.import_key) if job and job.import_key else None
    with draft(settings.artifacts_dir) as scratch:
        folder = scratch / artifact_id
        _unpack(locate(settings, artifact), folder)
        device = _address(settings, artifact.manifest, key)
        with session(replace(device, blas="")) as remote:
            facts = json.loads(remote.get_function("tunesmith.device_facts")())
            expected = expected_of(artifact.manifest["target"], exact=False)
            if problem := expected.differs_from(facts) if expected else "":
                raise InvalidInput(f"The device {problem}.", "Check it on a device of its kind.")
            device.load_blas(remote)
            module = RemoteModule(remote, folder)
            known = cache.load_samples(settings.imports_dir, imported) if imported is not None else []
            inputs = known[0].inputs if known else example_inputs(artifact.manifest)
            compared = _compared(settings, module, imported, folder, inputs)
            times_ms = [module.time_ms(inputs, _PER_ROUND) for _ in range(_ROUNDS)]
    return {
        "machine": facts["cpu"],
        "threads": facts["threads"],
        "os": facts.get("os", ""),
        **compared,
        **{name: value for name, value in summarise(times_ms).as_dict().items() if name != "rounds_ms"},
    }


def _compared(
    settings: Settings, module: RemoteModule, imported: Imported | None, folder: Path, inputs: dict[str, Any]
) -> dict[str, Any]:
    """What it computes, against PyTorch's outputs where these are known. Raises VerificationFailed."""
    what = f"artifact {folder.name}"
    precision = read_manifest(folder).get("precision", FULL)
    if imported is not None and precision == FULL:
        return {"verification": verification(module.run, Module(settings.imports_dir, imported, folder, False), what)}
    if not all(np.isfinite(value).all() for value in module.run(**inputs).values()):
        raise VerificationFailed(f"The {what} computes what is no number.", "Compile the model again with --cold.")
    return {}


def _address(settings: Settings, manifest: dict[str, Any], key: str) -> DeviceAddress:
    assert settings.tracker_port is not None
    kind = manifest["target"]["kind"]
    return DeviceAddress(
        settings.tracker_host,
        settings.tracker_port,
        key,
        settings.lease_timeout_sec + settings.session_timeout_sec,  # a round's session may have to end first
        settings.session_timeout_sec,
        "cpu" if kind == "llvm" else kind,
        blas=name_of(manifest["target"]),
    )


def _unpack(tar: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
