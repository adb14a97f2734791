"""``compile --dump``: all that a compilation comes by, in a folder that one can read from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rpc.facts import device_facts
from tests.support.tiny_models import write_model
from tuner.cli.main import app
from tuner.compiler.dump import INDEX, LOG, Dump
from tuner.config import Settings
from tuner.errors import InvalidInput
from tuner.importers.operators import files, written
from tuner.importers.source import resolve_source
from tuner.jobs.standalone import Order, compile_model
from tuner.kernels.workload import plain_name
from tuner.targets import presets

OWN = """
from tvm import te


def twice(n):
    x = te.placeholder((n,), name="x")
    return [x, te.compute((n,), lambda i: x[i] * 2.0, name="y")]
"""


def compile_with(*args: object) -> Result:
    return CliRunner().invoke(app, ["compile", *map(str, args)], catch_exceptions=False)


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumped")
    model = write_model(folder / "tiny", "bert")
    where = ("--seq-len", 16, "--data-dir", folder / "data", "--out", folder / "made" / "tiny.tar")
    said = compile_with(model, *where, "--dump", folder / "dump").output
    assert str(folder / "dump" / INDEX) in said
    assert not list((folder / "data" / "imports").glob("*"))  # it was imported anew
    return folder / "dump"


def named(folder: Path, words: str) -> list[Path]:
    return sorted(folder.glob(f"*-{words}"))


def test_the_index_names_each_file_in_order(dumped: Path) -> None:
    files = sorted(file.name for file in dumped.iterdir() if file.name[0].isdigit())
    linked = re.findall(r"\]\((.*)\)", (dumped / INDEX).read_text())
    assert linked == files
    assert [int(name[:3]) for name in files] == list(range(1, len(files) + 1))
    assert {file.name for file in dumped.iterdir()} == {*files, INDEX, LOG}
    assert "no change" in (dumped / INDEX).read_text()


def test_it_goes_from_the_exported_program_to_assembly(dumped: Path) -> None:
    told = {
        "exported-program.txt": "ExportedProgram",
        "BindParams.py": "R.matmul",
        "FuseOps.py": "R.func",
        "FuseTIRInner.py": "T.prim_func",
        "code-of-the-CPU.ll": "define",
        "assembly-of-the-CPU.s": ".globl",
    }
    order = []
    for name, has in told.items():
        found = named(dumped, name)
        assert found, name
        assert has in found[0].read_text()
        order.append(found[0].name)
    assert order == sorted(order)


def test_each_kernel_is_there_before_and_after(dumped: Path) -> None:
    before, after = named(dumped, "kernel-*-as-the-model-has-it.py"), named(dumped, "kernel-*-as-it-is-built.py")
    names = [{plain_name(file.name.split("-")[2]).removesuffix("_prepacked") for file in x} for x in (before, after)]
    assert names[0] == names[1]
    assert {"matmul_add_gelu", "softmax"} <= names[0]
    assert "T.parallel" in "".join(file.read_text() for file in after)
    assert "T.parallel" not in "".join(file.read_text() for file in before)


def test_the_log_has_the_linkers_command(dumped: Path) -> None:
    assert re.search(r"tuner.kernels.link: \$ .*-shared", (dumped / LOG).read_text())


def test_what_another_process_compiles_goes_there_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    operator = files.write(tmp_path, written.from_file(tmp_path / "mine.py", "twice", [64], []))
    order = Order(resolve_source(str(operator)), presets.resolve("local", "local", device_facts()))
    compile_model(Settings(data_dir=tmp_path / "data"), order, tmp_path / "x.tar", lambda line: None, tmp_path / "dump")
    assert named(tmp_path / "dump", "assembly-of-the-CPU.s")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InvalidInput, match="not empty"):
        Dump(tmp_path).begin("anything")
