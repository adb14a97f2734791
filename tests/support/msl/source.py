"""From a scheduled module to C and C++: TVM's host code, and its Metal kernels put in terms of the shim."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.tirx.build import codegen_build, split_host_device_mods

_POSITIONS = {"threadgroup_position_in_grid": "block", "thread_position_in_threadgroup": "place"}
_KERNEL = re.compile(r"kernel void (\w+)\((.*?)\)\s*\{", re.S)
_ARGUMENT = re.compile(r"([\w ]+[*&]?)\s+(\w+)\s*\[\[\s*(\w+)(?:\(\d+\))?\s*\]\]")
_THREADGROUP_ARRAY = re.compile(r"^(\s*)threadgroup (\w+) (\w+)\[(\d+)\];", re.M)
_THREAD_ARRAY = re.compile(r"^(\s*)thread (\w+) (\w+)\[(\d+)\];", re.M)
_POINTER = re.compile(r"(?:volatile )?(?:device|threadgroup) (\w+)\s*\*")
_INCLUDE = re.compile(r"^#include .*", re.M)
_UNUSED = re.compile(r"union __TVMArgUnion \{.*?\};", re.S)  # repeated before each kernel
_HOST = """
#undef kernel
#undef thread
#undef constant
#undef TVM_DLL
#define TVM_DLL __attribute__((no_sanitize("address", "undefined")))
"""
_FIELD = re.compile(r"^\s+\w+ (\w+)(?:\[2\])?;", re.M)


@dataclass(frozen=True)
class Lowered:
    """Generated code of one function, the thread axes each kernel is launched over, and the target's limits."""

    host: str
    metal: str
    launches: dict[str, list[str]]
    max_threads: int
    max_threadgroup_bytes: int


def lower(mod: Any, target: Any) -> Lowered:
    """Build ``mod`` as ``tvm.tirx.build`` does, but for a host in C, keeping the source."""
    description = dict(target.export()) | {"host": {"kind": "c"}}
    target = tvm.target.Target(description)
    pipeline, host_passes, device_passes = tvm.tirx.get_default_tir_pipeline(target)
    with target:
        lowered = pipeline(tvm.tirx.transform.BindTarget(target)(mod))
    host, devices = split_host_device_mods(lowered)
    ((device_target, device),) = devices.items()
    device = device_passes()(device)
    return Lowered(
        host=codegen_build(host_passes()(host), target.host).inspect_source("c"),
        metal=codegen_build(device, device_target).inspect_source("metal"),
        launches={
            str(func.attrs["global_symbol"]): [str(tag) for tag in func.attrs["tirx.kernel_launch_params"]]
            for func in device.functions.values()
        },
        max_threads=int(target.attrs["max_threads_per_block"]),
        max_threadgroup_bytes=int(target.attrs["max_shared_memory_per_block"]),
    )


def translated(lowered: Lowered) -> str:
    """The C++ of all kernels, the table by which the program finds them, and TVM's host code, which nobody doubts."""
    table = ",\n".join(_entry(match, lowered) for match in _KERNEL.finditer(lowered.metal))
    numbers = iter(range(1_000_000))

    def shared(match: re.Match[str]) -> str:
        space, type_, name, count = match.groups()
        return f'{space}auto {name} = msl::threadgroup_array<{type_}>({next(numbers)}, {count}, "{name}");'

    code = _THREADGROUP_ARRAY.sub(shared, _INCLUDE.sub("", lowered.metal))
    code = _THREAD_ARRAY.sub(r"\1\2 \3[\4]; msl::poison(\3);", code)
    code = _UNUSED.sub("", _POINTER.sub(r"msl::pointer<\1>", code))
    kernels = f"const msl::Kernel kernels[] = {{\n{table},\n{{}}}};\n"
    return f"#include <metal_stdlib>\n{code}\n{kernels}{_HOST}{_INCLUDE.sub('', lowered.host)}"


def _entry(match: re.Match[str], lowered: Lowered) -> str:
    """The row of one kernel: name, thread axes, number of arguments, and its call with TVM's packed arguments."""
    name, signature = match.groups()
    prepared, passed, used = "", [], 0
    for declared, argument, attribute in _ARGUMENT.findall(signature):
        type_ = declared.strip()
        if attribute in _POSITIONS:
            axes = {"uint": "x", "uint2": "xy", "uint3": "xyz"}[type_]
            values = ", ".join(f"{_POSITIONS[attribute]}.{axis}" for axis in axes)
            passed.append(f"{type_}{{{values}}}")
        elif type_.startswith("constant"):
            struct = type_.split()[1].rstrip("&")
            prepared = f"{struct} {argument};"
            for field in _FIELD.findall(lowered.metal.split(f"struct {struct} {{")[1].split("}")[0]):
                prepared += f" msl::pack({argument}.{field}, a[{used}]);"
                used += 1
            passed.append(argument)
        else:
            passed.append(f"msl::device<{type_.split()[-1].rstrip('*')}>(a[{used}])")
            used += 1
    tags = ", ".join(f'"{tag}"' for tag in lowered.launches[name])
    call = f"{prepared} {name}({', '.join(passed)});"
    return f'{{"{name}", {{{tags}}}, {used}, [](const TVMFFIAny* a, msl::Index block, msl::Index place) {{ {call} }}}}'
