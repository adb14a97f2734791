from __future__ import annotations

import subprocess
import sys

import pytest

SAY_IT = "print(open('/proc/self/oom_score_adj').read())"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told")
def test_who_goes_first_goes_with_what_it_starts() -> None:
    code = f"import subprocess, sys; from rpc.expendable import go_first; go_first(); {SAY_IT}; sys.stdout.flush(); "
    code += f"subprocess.run([sys.executable, '-c', {SAY_IT!r}], check=True)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["500", "500"]


def test_elsewhere_nothing_happens() -> None:
    code = "import sys; sys.platform = 'darwin'; from rpc.expendable import go_first; go_first(); "
    code += "sys.platform = 'linux'; " + SAY_IT
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.split() != ["500"]
