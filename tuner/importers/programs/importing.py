"""Models of any kind as imports: what is kept of them is what is kept of an encoder, but a family and a head."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import InvalidInput
from tuner.importers.cache import Imported, Sample, Shape, keep
from tuner.importers.model_file import ONNX, PROGRAM, original_in
from tuner.importers.programs import inputs
from tuner.importers.programs.model import FileModel, open_onnx, open_program
from tuner.importers.snapshot import Fetched
from tuner.importers.tensors import Tensor


def open_file(fetched: Fetched, batch: int, seq_len: int, scratch: Path) -> FileModel:
    """The model in a fetched file of no known encoder. Raises ModelInvalid, FormatUnsupported, OperatorsUnsupported."""
    assert fetched.folder is not None
    if (file := original_in(fetched.folder, PROGRAM)) is not None:
        return open_program(fetched.source.name, file, batch, seq_len)
    file = original_in(fetched.folder, ONNX)
    assert file is not None
    return open_onnx(fetched.source.name, file, batch, seq_len, scratch)


def import_file(key: str, fetched: Fetched, shape: Shape, root: Path) -> Imported:
    """Import it into the cache below ``root``. Raises what opening raises, and InvalidInput for texts or a head."""
    source = fetched.source
    if shape.texts or source.head:
        what = "texts of any lengths" if shape.texts else f"head for {source.head}"
        raise InvalidInput(
            f"{source.name} is no encoder that is known, so it has no {what}.",
            "Leave that out; its inputs and outputs are those of the file.",
        )
    model = open_file(fetched, shape.batch, shape.seq_len, root)
    given = inputs.samples(model.inputs)
    prepared = model.prepared(shape.kind)
    samples = [Sample(one, model.reference(one)) for one in given]
    imported = Imported(
        key=key,
        name=source.name,
        location=source.location,
        family="",
        head="",
        weights=source.weights,
        note="It is no encoder that is known: its shapes are those of the file, and it is timed on random inputs.",
        max_seq_len=None,
        inputs=[Tensor(one.name, list(one.shape), one.dtype, one.below) for one in model.inputs],
        outputs=[Tensor(name, list(value.shape), str(value.dtype)) for name, value in samples[0].outputs.items()],
        samples=len(samples),
        against=model.against,
        sampled=inputs.SAMPLED,
    )
    return keep(root, imported, prepared, samples)
