"""Which of a job's modules wins: the quickest of those that are near enough to float32. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.bench.spec import Result, Timing

TUNED, UNTUNED = "tuned", "untuned"

Manifest = Mapping[str, Any]


def is_near(manifest: Manifest) -> bool:
    """Does a module compute what float32 computes, so that its time means something? It may still lose more than the
    job allows."""
    lost = (manifest.get("verification") or {}).get("fidelity")
    if lost is None:
        return True
    return all(lost[name] >= lost["bounds"][name] for name in ("cosine_mean", "cosine_min"))


def named_by_speed(result: Result, manifests: Mapping[str, Manifest]) -> tuple[str, Result]:
    """The name of the winner among a job's modules, and the result in which it is ``tuned``, and others that competed
    with it ``tuned-int8`` and so on."""
    took = {timing.variant: timing.median_ms for timing in result.timings}
    entrants = {name: one for name, one in manifests.items() if name != UNTUNED}
    winner = min((name for name, one in entrants.items() if not _refused(one)), key=took.__getitem__)
    names = {name: TUNED if name == winner else f"{TUNED}-{one['precision']}" for name, one in entrants.items()}
    timings = [one.model_copy(update={"variant": names.get(one.variant, one.variant)}) for one in result.timings]
    errors = {names.get(name, name): error for name, error in result.max_abs_errors.items()}
    return winner, result.model_copy(update={"timings": timings, "max_abs_errors": errors})


def compared(manifests: Mapping[str, Manifest], timings: Mapping[str, Timing]) -> dict[str, Any]:
    """A manifest's ``precisions``, where several competed: what each took and lost, and why it could not win. Timings
    are by the names that the winner gave them."""
    entrants = [one for name, one in manifests.items() if name != UNTUNED]
    if len(entrants) < 2:
        return {}
    named = {one["precision"]: timings.get(f"{TUNED}-{one['precision']}") for one in entrants}
    found = {}
    for one in entrants:
        precision, check = one["precision"], one.get("verification") or {}
        timing = named[precision]
        if timing is None and is_near(one):  # the winner
            timing = timings[TUNED]
        found[precision] = {
            "median_ms": timing.median_ms if timing else None,
            "fidelity": check.get("fidelity"),
            "refused": _refused(one),
        }
    return {"precisions": found}


def in_words(precisions: Manifest) -> str:
    """What each precision that competed took and lost: ``fp32 16.3 ms; int8 8.1 ms, cosine 0.99951``."""
    parts = []
    for precision, one in precisions.items():
        took = f"{one['median_ms']:.3g} ms" if one["median_ms"] else "not timed"
        lost = f", cosine {one['fidelity']['cosine_mean']:.5f}" if one["fidelity"] else ""
        refused = f", refused: {one['refused']}" if one["refused"] else ""
        parts.append(f"{precision} {took}{lost}{refused}")
    return "; ".join(parts)


def _refused(manifest: Manifest) -> str:
    return str((manifest.get("verification") or {}).get("refused") or "")
