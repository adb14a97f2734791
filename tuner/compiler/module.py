"""From an import and the winners of its workloads to a folder that loads: library, parameters, manifest, loader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import tvm
from safetensors.numpy import save_file
from tvm.s_tir import meta_schedule as ms

from rpc.facts import physical_cores
from rpc.versions import PINS
from tuner.artifact import travelling
from tuner.artifact.format import artifact_id, sha256_of
from tuner.artifact.machine import instructions
from tuner.artifact.symbols import check_library
from tuner.graph.flow import flow
from tuner.graph.launches import launches
from tuner.graph.onlooker import show
from tuner.graph.pipeline import Prepared, build, finish, kernels_of
from tuner.graph.replaced import Replacement, stood_as
from tuner.importers.cache import Imported, named_params
from tuner.kernels import ready_made, written
from tuner.kernels.context import NO_SCHEDULE, Replay, make_target
from tuner.kernels.defaults import schedule_by_default
from tuner.kernels.left_out import NO_CHOICE, refusal
from tuner.kernels.link import linker_for
from tuner.kernels.prefetch import insert_prefetches
from tuner.kernels.space import space_for
from tuner.kernels.workload import ids_of, module_from_json, names_of
from tuner.targets import triples

_PARAMS = "params.safetensors"
GRAPH = "graph.relax"
_MOST_GRAPH_CHARS = 2_000_000
_UNTIMED = [0.0]  # of a guess: TVM's database passes over records without times


@dataclass(frozen=True)
class Compiled:
    """What compiling found out: parameter names in call order, members' names, how the library was checked, why
    winners, by TIR, were left out, which workloads feed which (``tuner.graph.flow``), and where each runs
    (``tuner.graph.places``).
    """

    params: list[str]
    library: str
    source: str
    checked: dict[str, Any]
    left_out: dict[str, str]
    flow: list[list[str | int]]
    places: dict[str, Any]


def compile_into(
    folder: Path, prepared: Prepared, target: dict[str, Any], winners: Mapping[str, tuple[str, list[float]]]
) -> Compiled:
    """Write library, its source text and parameters into ``folder``, emptied first.

    ``winners`` maps a workload's TIR to its record's JSON, or the name of a ready-made schedule, and run seconds; other
    kernels get the default schedule. Raises LinkFailed, or LoadCheckFailed when the library can't load on its target.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tvm_target = make_target(target)
    database, replaced, left_out = _chosen(prepared.mod, tvm_target, winners)
    for name, kernel in kernels_of(prepared.mod).items():
        show(f"kernel {name} as the model has it", "py", kernel.script)
    mod, params = finish(prepared, database, tvm_target, lambda rest: schedule_by_default(rest, tvm_target), replaced)
    library = "lib" + triples.library_suffix(target)
    mod = insert_prefetches(mod)
    for name, kernel in kernels_of(mod).items():
        show(f"kernel {name} as it is built", "py", kernel.script)
    if len(graph := str(mod["main"].script())) <= _MOST_GRAPH_CHARS:
        (folder / GRAPH).write_text(graph)
    source = build(mod, tvm_target, str(folder / library), linker_for(target))
    (folder / f"source.{source.kind}").write_text(source.text)
    named = named_params(params)
    save_file(named, folder / _PARAMS)
    checked = check_library(folder / library, target, list(kernels_of(mod)))
    ids = ids_of(prepared.mod)
    edges = flow(launches(prepared.mod, prepared.inputs, prepared.origins), ids)
    built = {name: ids[before] for name, before in stood_as(kernels_of(mod)).items() if before in ids}
    where = source.places.by_workload(built)
    return Compiled(list(named), library, f"source.{source.kind}", checked, left_out, edges, where)


def _chosen(
    model: Any, target: Any, winners: Mapping[str, tuple[str, list[float]]]
) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """The winners: schedules for TVM to apply, kernels written out by the names of those they replace in the model, and
    the reasons of those that can't be used."""
    database, replaced, left_out = ms.database.MemoryDatabase(), dict[str, Any](), {}
    for tir, (trace, run_secs) in winners.items():
        mod = module_from_json(tir)
        if written.is_choice(trace):
            if (made := written.rewritten(trace, mod, target)) is None:
                left_out[tir] = NO_CHOICE
            else:
                replacement = Replacement(made["main"], written.packer_of(trace, mod, target))
                replaced |= dict.fromkeys(names_of(model, mod), replacement)
            continue
        replay = Replay(mod, target, space_for(target))
        by_name = ready_made.is_name(trace)
        schedule = ready_made.schedule(trace, mod, target) if by_name else replay.schedule(trace)
        if schedule is None:
            left_out[tir] = refusal(replay, trace, target)
            continue
        database.commit_workload(mod)
        database.commit_tuning_record(replay.record(schedule, run_secs or _UNTIMED))
    return database, replaced, left_out


def can_be_built(tir: str, trace: str, target: dict[str, Any]) -> bool:
    """Can a workload's kernel be built by this trace? To find out which one is to blame when a module could not."""
    mod, tvm_target = module_from_json(tir), make_target(target)
    with suppress(*NO_SCHEDULE):
        if written.is_choice(trace):
            made = written.rewritten(trace, mod, tvm_target)
        elif ready_made.is_name(trace):
            schedule = ready_made.schedule(trace, mod, tvm_target)
            made = None if schedule is None else schedule.mod
        else:
            schedule = Replay(mod, tvm_target, space_for(tvm_target)).schedule(trace)
            made = None if schedule is None else schedule.mod
        if made is not None:
            tvm.compile(insert_prefetches(made), tvm_target)
            return True
    return False


def base_manifest(
    imported: Imported, batch: int, seq_len: int, target: dict[str, Any], compiled: Compiled
) -> dict[str, Any]:
    """What is known of a compiled folder before it is verified; enough for the loader."""
    return {
        "format": 1,
        "model": {
            "name": imported.name,
            "location": imported.location,
            "revision": imported.revision,
            "family": imported.family,
            "head": imported.head,
            "note": imported.note,
            **imported.about,
        },
        "tokenizer": imported.tokenizer,
        **({"faithful": imported.faithful} if imported.faithful else {}),
        "weights": imported.weights,
        **({"texts": imported.texts} if imported.texts else {"batch": batch, "seq_len": seq_len}),
        "inputs": [tensor.as_dict() for tensor in imported.inputs],
        "outputs": [tensor.as_dict() for tensor in imported.outputs],
        "library": compiled.library,
        "source": compiled.source,
        "params": compiled.params,
        "flow": compiled.flow,
        "places": compiled.places,
        "target": target,
        "machine": triples.architecture(target),
        **({"instructions": instructions(target)} if target["kind"] == "llvm" else {}),
        "threads": int(target.get("num-cores") or physical_cores()),
        **compiled.checked,
        "versions": {
            "tvm": PINS["apache-tvm"],
            "tvm-ffi": PINS["apache-tvm-ffi"],
            **{name: metadata.version(name) for name in ("torch", "transformers", "tunesmith")},
        },
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that is made but not packed yet."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Put the manifest and the loader, which may be two files, beside the library."""
    for name, source in travelling.sources(manifest).items():
        (folder / name).write_text(source)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))


def seal(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its time, its id and each member's hash, written; nothing in the folder may change any more."""
    params = sha256_of(folder / _PARAMS)
    manifest = manifest | {
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "params_sha256": params,
    }
    manifest["id"] = artifact_id(manifest)
    write_manifest(folder, manifest)
    others = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in ("manifest.json", _PARAMS))
    manifest["files"] = {path.name: sha256_of(path) for path in others} | {_PARAMS: params}
    write_manifest(folder, manifest)
    return manifest
