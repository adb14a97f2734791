"""How to run an artifact, in lines to copy. Pure."""

from __future__ import annotations

from tuner.schemas import ArtifactOut, JobOut


def how_to_run(job: JobOut, artifact: ArtifactOut) -> str:
    """The lines that fetch the artifact and run it: with this tool, or with TVM and numpy alone."""
    versions = artifact.manifest.get("versions") or {}
    pin = f"=={versions['tvm']}" if versions.get("tvm") else ""
    ffi = f" apache-tvm-ffi=={versions['tvm-ffi']}" if versions.get("tvm-ffi") else ""
    name = f"{artifact.id}.tar"
    loader = "loader.py texts.py" if artifact.manifest.get("texts") else "loader.py"
    place = ("# it runs on a Mac with Apple silicon",) if is_for_macos(artifact) else ()
    return "\n".join(
        (
            *place,
            "# with tunesmith installed: fetch it, load it, time it",
            f"tunesmith download {job.id}",
            f"tunesmith run {name}",
            "",
            "# anywhere else: TVM, numpy and the loader inside the tar",
            f"pip install apache-tvm{pin}{ffi} numpy",
            f"tar -xf {name} {loader}",
            f"python loader.py {name} --runs 50",
            f"python -c 'from loader import load; print(load(\"{name}\").inputs)'",
        )
    )


def is_for_macos(artifact: ArtifactOut) -> bool:
    """Is its library one for macOS?"""
    return str(artifact.manifest.get("library", "")).endswith(".dylib")
