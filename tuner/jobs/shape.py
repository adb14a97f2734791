"""What a job's module takes: one shape, or texts of any lengths, which is what a job is for when nobody asks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tuner.errors import InvalidInput
from tuner.importers.families import check_texts
from tuner.importers.source import check_seq_len
from tuner.lengths import MIX, UNKNOWN_LONGEST, Lengths, default_mix, of_range, of_texts
from tuner.schemas import JobIn
from tuner.targets.presets import Target

BATCH, SEQ_LEN = 1, 128  # of a fixed shape, as far as nobody said


class Encoder(Protocol):
    """A model as far as its shape goes; ``family`` and ``head`` are empty, ``max_seq_len`` None while unknown."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def head(self) -> str: ...
    @property
    def max_seq_len(self) -> int | None: ...


@dataclass(frozen=True)
class JobShape:
    """``batch`` sequences of ``seq_len`` tokens, or, with a profile, ``texts``.

    ``note``: why it is one shape where nobody asked for that. ``is_open``: it may still become one, as nobody knows the
    model's family yet.
    """

    batch: int = BATCH
    seq_len: int = SEQ_LEN
    texts: Lengths | None = None
    note: str = ""
    is_open: bool = False

    @property
    def lengths(self) -> list[int] | None:
        """The profile as a job keeps it."""
        return list(self.texts.sample) if self.texts else None

    def __str__(self) -> str:
        return "texts of any lengths" if self.texts else f"{self.batch} x {self.seq_len}"


def job_shape(wish: JobIn, model: Encoder, target: Target) -> JobShape:
    """What a request is for. Raises InvalidInput or SequenceTooLong."""
    is_fixed = wish.batch is not None or wish.seq_len is not None
    if wish.lengths is not None or wish.text_lengths is not None:
        if is_fixed:
            raise InvalidInput(
                "A job is for one shape or for texts of any lengths, not both.",
                "Leave out batch and seq_len, or the lengths.",
            )
        return JobShape(texts=_profile(wish, model, target))
    if model.source == "operator":
        return JobShape(1, 1)  # its extents are its own
    return fixed(model, wish.batch, wish.seq_len) if is_fixed else open_shape(model, target.name, target.tvm["kind"])


def fixed(model: Encoder, batch: int | None, seq_len: int | None) -> JobShape:
    """One shape, of which a part may be left open. Raises SequenceTooLong."""
    shape = JobShape(batch or BATCH, seq_len or min(SEQ_LEN, model.max_seq_len or SEQ_LEN))
    check_seq_len(model.name, model.max_seq_len, shape.seq_len)
    return shape


def open_shape(model: Encoder, target: str, kind: str) -> JobShape:
    """What a job is for when nobody asked for a shape: texts of any lengths, or one shape, and why."""
    try:
        _check_texts(model, target, kind)
    except InvalidInput as reason:
        shape = fixed(model, None, None)
        return JobShape(shape.batch, shape.seq_len, note=f"{reason.message} So it is {shape.batch} x {shape.seq_len}.")
    return JobShape(texts=default_mix(model.max_seq_len or UNKNOWN_LONGEST), is_open=not model.family)


def settled_shape(model: Encoder, target: str, kind: str) -> JobShape:
    """What a job of an open shape is for now that its files have told what the model is: of a file that is no encoder,
    the shapes in it."""
    if not model.family:
        return JobShape(note=f"{model.name} is no encoder that is known: its shapes are those of the file.")
    return open_shape(model, target, kind)


def _profile(wish: JobIn, model: Encoder, target: Target) -> Lengths:
    if wish.lengths is not None and wish.text_lengths is not None:
        raise InvalidInput("A profile is a range or lengths, not both.", "Leave out lengths or text_lengths.")
    if model.source == "operator":
        raise InvalidInput("An operator has no texts.", "Leave out the lengths; its extents are in its name.")
    _check_texts(model, target.name, target.tvm["kind"])
    longest = model.max_seq_len or UNKNOWN_LONGEST
    if wish.text_lengths is not None:
        return of_texts(wish.text_lengths, longest)
    assert wish.lengths is not None
    return default_mix(longest) if wish.lengths == MIX else of_range(wish.lengths, longest)


def _check_texts(model: Encoder, target: str, kind: str) -> None:
    if kind != "llvm":
        raise InvalidInput(f"Texts of any lengths are for CPUs; {target} is none.", "Give --seq-len and --batch.")
    check_texts(model.family, model.head)
