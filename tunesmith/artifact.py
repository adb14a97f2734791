"""An artifact that was loaded: what is known of it, and running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.artifact import loader
from tuner.artifact.loader import Runner

if TYPE_CHECKING:
    from tunesmith.torch_module import TunedModule


class Artifact:
    """A loaded artifact; ``load`` makes one."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def manifest(self) -> dict[str, Any]:
        """All that is known of it: model, target, versions, how fast it was and how it was checked."""
        return self._runner.manifest

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """``[{"name", "shape", "dtype"}, ...]`` in call order."""
        return self._runner.inputs

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """``[{"name", "shape", "dtype"}, ...]`` in order."""
        return self._runner.outputs

    def run(self, **inputs: Any) -> dict[str, Any]:
        """Outputs by name, numpy arrays in and out, for one array per input of exactly the compiled shapes; of an
        artifact for texts for lists of token ids, or padded arrays with their ``attention_mask``.

        Raises ArtifactError saying what is wrong with the inputs.
        """
        return self._runner.run(**inputs)

    def benchmark(self, runs: int = 50, **inputs: Any) -> tuple[float, float, float]:
        """Milliseconds of one inference over ``runs`` runs after a warm-up: (median, 10th, 90th percentile)."""
        return self._runner.benchmark(runs, **inputs)

    def as_torch(self, config: Any = None) -> TunedModule:
        """A ``torch.nn.Module`` that takes and gives what the library's model of the same architecture does.

        ``config`` is what ``module.config`` shall be: the library's, its dictionary, or a model's folder; else it is
        made from the manifest.
        """
        from tunesmith.torch_module import as_module  # PyTorch is for those who use it

        return as_module(self._runner, config)


def load(path: str | Path) -> Artifact:
    """Opens an artifact: the tar, or the folder it was unpacked to.

    Raises ArtifactError when it is no artifact, a member does not match its checksum, or it is for another machine.
    """
    return Artifact(loader.load(path))
