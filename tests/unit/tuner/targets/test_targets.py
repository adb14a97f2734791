from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from rpc.apple import cpu_key
from rpc.chips import CHIPS
from tuner.errors import TargetUnknown
from tuner.targets import llvm_names, presets, triples
from tuner.targets.apple import cpu_peak, gpu_peak
from tuner.targets.presets import Target, Threadgroup, known, resolve
from tuner.targets.roofline import Peak
from tuner.targets.triples import family, file_name

FACTS = {"mtriple": "x86_64-unknown-linux-gnu", "mcpu": "znver5", "threads": 2}
HERE = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
A_CPU = next(iter(llvm_names.cpus(HERE)), None)
M1 = {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}


def metal(**changes: Any) -> str:
    return json.dumps({"kind": "metal", "host": M1, **changes})


def test_local_is_what_its_device_says() -> None:
    target = resolve("local", "local", FACTS)
    assert target.tvm == {"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "znver5", "num-cores": 2}
    assert target.family == "llvm-x86_64-znver5-2c"
    assert (target.cores, target.threadgroup) == (2, None)
    assert resolve("local", "local").family == ""


def test_peaks_are_measured_here_and_computed_elsewhere() -> None:
    peaks = {"local": Peak(530.0, 40.0), "m1-cpu": Peak(1.0, 1.0), "linux-arm64": Peak(50.0, 10.0)}
    measured = {key: {"peak": peak.as_fact()} for key, peak in peaks.items()}
    here = resolve("local", "local", FACTS, measured)
    assert (here.peak_gflops, here.bandwidth_gb_per_sec, here.peak_source) == (530.0, 40.0, "measured")
    assert resolve("local", "local", FACTS).peak is None
    assert resolve("linux-arm64", "local", FACTS, measured).peak_gflops == 50.0
    assert resolve("m1-cpu", "local", FACTS, measured).peak == Peak(409.6, 68.3, "computed", units={"AMX": 1638.4})
    assert resolve("m2-metal", "local", FACTS, measured).peak == Peak(3578.9, 102.4, "computed")


def test_a_peak_measured_on_a_cpu_is_not_its_gpus() -> None:
    gpu = FACTS | {"cuda": {"name": "NVIDIA H200", "arch": "sm_90"}}
    assert resolve("cuda", "local", gpu, {"local": {"peak": {"gflops": 530.0, "gb_per_sec": 40.0}}}).peak is None


def test_apple_silicon_is_known_on_every_machine() -> None:
    kinds = {"m1": 4, "m2": 4, "m3": 4, "m4": 3, "m5": 3}
    chips = [f"{chip}{kind}" for chip, count in kinds.items() for kind in ("", "-pro", "-max", "-ultra")[:count]]
    parts = {"m1": ("cpu", "metal", "metal-restricted"), "m2": ("cpu", "metal", "metal-restricted")}
    names = ["local", *(f"{c}-{p}" for c in chips for p in parts.get(c, ("cpu", "metal"))), "linux-arm64"]
    assert [target.name for target in known("local")] == names
    assert [target.name for target in known("local", FACTS)] == names


def test_a_chips_cores_are_those_its_device_tells() -> None:
    assert resolve("m3-pro-cpu", "local").tvm["num-cores"] == 6
    seen = {"m3-pro-cpu": {"threads": 5, "gpu_cores": 14}, "m1-metal": {"threads": 4, "gpu_cores": 7}}
    binned = resolve("m3-pro-cpu", "local", None, seen)
    assert (binned.cores, binned.family) == (5, "llvm-aarch64-apple-m3-pro-5c")
    assert binned.peak_gflops == pytest.approx(5 / 6 * (resolve("m3-pro-cpu", "local").peak_gflops or 0))
    gpu, whole = (resolve("m1-metal", "local", None, told) for told in (seen, None))
    assert gpu.family == whole.family  # a kernel for eight cores runs on seven as it is
    assert gpu.peak_gflops == pytest.approx(7 / 8 * (whole.peak_gflops or 0), abs=0.1)


def test_what_an_agent_offers_by_itself_is_what_some_target_uses() -> None:
    used = {target.device_key for target in known("local")}
    kinds = ("", " Pro", " Max", " Ultra")
    offered = {cpu_key(f"Apple M{generation}{kind}") for generation in range(1, 10) for kind in kinds}
    assert offered == {key for key in used if key.endswith("-cpu")}


def test_llvm_knows_every_chip_by_name() -> None:
    of_apple = [target for target in known("local") if target.name.startswith("m")]
    assert {triples.host_of(target.tvm)["mcpu"] for target in of_apple} <= set(llvm_names.cpus("aarch64"))


def test_a_gpu_whose_clock_is_not_known_has_no_peak() -> None:
    assert resolve("m4-metal", "local").peak is None
    assert resolve("m4-cpu", "local").bandwidth_gb_per_sec == 120.0


@pytest.mark.parametrize(
    ("name", "suffix", "triple", "device_key"),
    [
        ("m1-cpu", ".dylib", "arm64-apple-macos", "m1-cpu"),
        ("m1-metal", ".dylib", "arm64-apple-macos", "m1-metal"),
        ("m1-metal-restricted", ".dylib", "arm64-apple-macos", "m1-metal"),
        ("linux-arm64", ".so", "aarch64-linux-gnu", "linux-arm64"),
    ],
)
def test_a_target_says_what_its_libraries_are(name: str, suffix: str, triple: str, device_key: str) -> None:
    target = resolve(name, "here")
    assert (target.suffix, target.host_triple, target.device_key) == (suffix, triple, device_key)
    assert presets.device_key_of(name, "here") == device_key


def test_gpus_say_what_a_threadgroup_may_have() -> None:
    assert resolve("m1-metal", "local").threadgroup == Threadgroup(1024, 32768, 32)
    assert resolve("m1-metal-restricted", "local").threadgroup == Threadgroup(256, 32768, 32)


def test_targets_do_not_share_records_unless_they_run_the_same_kernels() -> None:
    families = [target.family for target in known("local", FACTS)]
    assert len(set(families)) == len(families)
    assert "metal-apple-m1-1024t" in families


def test_cuda_is_a_target_where_the_device_has_one() -> None:
    gpu = {"cuda": {"name": "NVIDIA H200", "arch": "sm_90"}}
    target = resolve("cuda", "local", FACTS | gpu)
    assert (target.family, target.device_key, target.tvm["host"]["mcpu"]) == ("cuda-sm_90", "local", "znver5")
    with pytest.raises(TargetUnknown):
        resolve("cuda", "local", FACTS)
    assert presets.device_key_of("cuda", "local") == "local"


def test_records_are_shared_by_architecture_cpu_features_and_cores() -> None:
    assert family(M1) == "llvm-aarch64-apple-m1"
    assert family({**M1, "mattr": ["+fp16", "+dotprod"], "num-cores": 4}) == "llvm-aarch64-apple-m1-+dotprod-+fp16-4c"


def test_features_of_the_architecture_may_be_added_and_taken_away() -> None:
    wanted = M1 | {"mattr": ["+dotprod", "-sve"], "num-cores": 1024, "keys": ["arm_cpu", "cpu"]}
    assert resolve(json.dumps(wanted), "local").family == "llvm-aarch64-apple-m1-+dotprod--sve-1024c"


@pytest.mark.parametrize("name", [*known("local", FACTS)], ids=lambda target: target.name)
def test_what_a_named_target_is_may_be_given_as_json(name: Target) -> None:
    assert resolve(json.dumps(name.tvm), "local", FACTS).family == name.family


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "a\0b", "*", "\u2044", "a b"])
def test_a_family_as_a_files_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{file_name(name)}.so"
    path.touch()
    assert path.parent == tmp_path
    assert [path] == list(tmp_path.iterdir())
    assert file_name("llvm-aarch64-generic-+neon-4c") == "llvm-aarch64-generic-+neon-4c"


@pytest.mark.skipif(A_CPU is None, reason=f"no list of CPUs for {HERE}")
def test_a_target_may_be_given_as_json() -> None:
    text = json.dumps({"kind": "llvm", "mcpu": A_CPU})
    target = resolve(f" {text} ", "local")
    assert target.tvm == {"kind": "llvm", "mcpu": A_CPU}
    assert (target.family, target.device_key) == (f"llvm-{HERE}-{A_CPU}", "local")


def test_a_target_as_json_runs_on_the_device_most_like_it() -> None:
    assert resolve(json.dumps(M1 | {"mcpu": "apple-m4"}), "local").device_key == "m4-cpu"
    assert resolve(json.dumps(M1 | {"mcpu": "apple-m4", "tag": "pro"}), "local").device_key == "m4-pro-cpu"
    phone = json.dumps(M1 | {"mcpu": "apple-a14"})
    assert (resolve(phone, "local").device_key, resolve(phone, "local").peak_gflops) == ("m1-cpu", None)
    assert resolve(json.dumps(M1), "local").peak_gflops == resolve("m1-cpu", "local").peak_gflops
    linux = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "apple-m1"}
    if HERE != "aarch64":
        assert resolve(json.dumps(linux), "local").device_key == "linux-arm64"


def test_metal_as_json_gets_the_limits_of_its_chip() -> None:
    target = resolve(metal(max_threads_per_block=512), "local")
    assert target.threadgroup == Threadgroup(512, 32768, 32)
    assert (target.tvm["max_num_threads"], target.device_key) == (512, "m1-metal")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("lokal", "'lokal'", "local"),
        ("m1-metl", "'m1-metl'", "m1-metal"),
        ("moon", "'moon'", "tunesmith targets"),
        ('{"kind": "llvm"', "not JSON", "llvm"),
        ('{"kind": "cuda"}', "'cuda'", "local"),
        ('{"mcpu": "x"}', "None", "llvm"),
        ('{"kind": "llvm", "mattr": "+avx"}', "mattr", "TVM"),
        ('{"kind": "llvm", "mtriple": 7}', "mtriple", "TVM"),
        ('{"kind": "llvm", "mtriple": "msp430-none-elf"}', "msp430", "local"),
        ('{"kind": "llvm", "mcpu": "apple-latest-and-greatest"}', "apple-latest-and-greatest", ""),
        ('{"kind": "llvm", "mcpu": ["a"]}', "mcpu", ""),
        (json.dumps(M1 | {"mcpu": "apple-m11"}), "apple-m11", "apple-m1"),
        ('{"kind": "metal", "host": {"kind": "llvm", "mtriple": "x86_64-linux-gnu"}}', "x86_64", "arm64-apple-macos"),
        ('{"kind": "metal", "host": {"kind": "llvm", "mtriple": "aarch64-linux-gnu"}}', "Apple hosts only", "apple-m1"),
        ('{"kind": "metal", "host": {"kind": "c"}}', "kind llvm", "apple-m1"),
        (metal(max_threads_per_block=2048), "2048.*1024 threads in a threadgroup", "1 to 1024"),
        (metal(max_shared_memory_per_block=65536), "65536.*32768 bytes of threadgroup memory", "1 to 32768"),
        (metal(max_threads_per_block="many"), "'many'", "1024"),
        (metal(thread_warp_size=64), "64.*32", "32"),
        (metal(max_threads_per_block=True), "True", "1024"),
        (json.dumps(M1 | {"mattr": ["+dotprodd"]}), "dotprodd", "dotprod"),
        (json.dumps(M1 | {"mattr": ["dotprod"]}), "'dotprod'", "+name"),
        (json.dumps(M1 | {"mattr": ["+../../x"]}), "x", "+name"),
        (json.dumps(M1 | {"mattr": [""]}), "''", "+name"),
        (json.dumps(M1 | {"mattr": [1, "a"]}), "mattr", "TVM"),
        (json.dumps(M1 | {"num-cores": -5}), "-5", "1 to 1024"),
        (json.dumps(M1 | {"num-cores": 1025}), "1025", "1 to 1024"),
        (json.dumps(M1 | {"num-cores": True}), "True", "1 to 1024"),
        (json.dumps(M1 | {"num-cores": "4"}), "'4'", "1 to 1024"),
        (json.dumps(M1 | {"mtriple": "arm64-apple-macos/../.."}), "mtriple", "TVM"),
        (json.dumps(M1 | {"keys": ["cpu", "a b"]}), "keys", "TVM"),
        (json.dumps(M1 | {"cl-opt": ["-info-output-file=/tmp/x"]}), "cl-opt", "mtriple"),
        (metal(host=M1 | {"cl-opt": []}), "cl-opt", "mtriple"),
        (metal(host=M1 | {"mattr": ["+nonsense"]}), "nonsense", "+name"),
        ('{"kind": "llvm", "mattr": ' + "[" * 100_000, "not JSON", "llvm"),
    ],
)
def test_an_unusable_target_is_refused_with_a_way_out(name: str, message: str, hint: str) -> None:
    with pytest.raises(TargetUnknown, match=message) as caught:
        resolve(name, "local")
    assert hint in caught.value.hint


@pytest.mark.skipif(platform.system() == "Darwin", reason="here Metal needs no host given")
def test_metal_without_a_host_is_refused_off_a_mac() -> None:
    with pytest.raises(TargetUnknown, match="Apple hosts only"):
        resolve('{"kind": "metal"}', "local")


@pytest.mark.skipif(HERE != "x86_64", reason="names of x86 CPUs")
def test_a_mistyped_mcpu_is_answered_with_the_nearest() -> None:
    with pytest.raises(TargetUnknown) as caught:
        resolve('{"kind": "llvm", "mcpu": "znver9"}', "local")
    assert "znver5" in caught.value.hint


def test_a_target_may_be_written_as_tvmc_took_it() -> None:
    triple = "x86_64-unknown-linux-gnu"
    as_json = (
        f'{{"kind": "llvm", "mtriple": "{triple}", "mcpu": "skylake", "mattr": ["+avx2", "+fma"], "num-cores": 2}}'
    )
    text = f"llvm -mtriple={triple} -mcpu skylake -mattr=+avx2,+fma -num-cores=2"
    facts = {"mtriple": triple, "mcpu": "znver4", "threads": 2}
    written, given = presets.resolve(text, "local", facts), presets.resolve(as_json, "local", facts)
    assert (written.tvm, written.family, written.device_key) == (given.tvm, given.family, given.device_key)
    assert presets.resolve("llvm", "local", facts) == presets.resolve("local", "local", facts)
    with pytest.raises(TargetUnknown, match="'skylake' is no option"):
        presets.resolve("llvm -mcpu=skylake skylake", "local", facts)


def test_the_page_about_targets_has_the_figures_of_every_chip() -> None:
    page = (Path(__file__).parents[4] / "docs" / "targets.md").read_text()
    for chip in CHIPS:
        gpu = gpu_peak(chip, chip.gpu_cores)
        peaks = f"{cpu_peak(chip, chip.cores).gflops:.0f}, {f'{gpu.gflops:.0f}' if gpu else 'not known'}"
        assert f"| `{chip.name}` | {chip.cores} | {chip.gpu_cores} | {chip.gb_per_sec:g} | {peaks} |" in page
