"""The start-up guard against releases of TVM that crash."""

from __future__ import annotations

from importlib import metadata

import pytest

from tuner.errors import WrongVersion
from tuner.versions import check_versions


def pretend(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    def version(name: str) -> str:
        found = versions[name.replace("-", "_")]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)


def test_pinned_versions_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, apache_tvm="0.27.0.post1", apache_tvm_ffi="0.1.14.post1")
    check_versions()


@pytest.mark.parametrize("found", ["0.1.15", None])
def test_wrong_ffi_is_refused_with_the_pin_and_the_command(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    pretend(monkeypatch, apache_tvm="0.27.0.post1", apache_tvm_ffi=found)
    with pytest.raises(WrongVersion, match=r"apache-tvm-ffi is .*must be 0\.1\.14\.post1") as caught:
        check_versions()
    assert "pip install" in caught.value.hint
    assert "apache-tvm-ffi==0.1.14.post1" in caught.value.hint
    assert "apache-tvm is" not in caught.value.message
