"""The graph around a kernel, told as text or drawn: where in the model it is, what feeds it, what it feeds. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

FORMS = ("text", "dot", "mermaid")
OUTPUT = "output"


@dataclass(frozen=True)
class Launch:
    """One call of a kernel. ``reads``: launches by their place, or inputs by name; ``weights``: by the model's names;
    ``is_output``: it makes something that the model gives."""

    kernel: str
    reads: tuple[int | str, ...]
    weights: tuple[str, ...]
    is_output: bool = False


@dataclass(frozen=True)
class Surroundings:
    """``layers`` are the model's own names of what a kernel computes, ``*`` for numbers that vary; ``near`` those of
    the next kernels before and after it, for one that has no weights. ``feeds`` and ``fed`` count launches by what
    they are of: kernels, the model's inputs, its output."""

    name: str
    launches: int
    layers: list[str]
    near: list[str]
    fed_by: dict[str, int]
    feeds: dict[str, int]


def around(found: Sequence[Launch], kernels: Collection[str], name: str, called: dict[str, str]) -> Surroundings:
    """Around those of a model's launches that are of some ``kernels``, by their names in its module. ``called``: what
    any kernel is called."""
    own = [place for place, one in enumerate(found) if one.kernel in kernels]
    readers: dict[int, list[int]] = {place: [] for place in range(len(found))}
    for place, one in enumerate(found):
        for read in one.reads:
            if isinstance(read, int):
                readers[read].append(place)
    fed_by: Counter[str] = Counter()
    feeds: Counter[str] = Counter()
    weights: list[str] = []
    near: list[str] = []
    for place in own:
        fed_by.update(read if isinstance(read, str) else called[found[read].kernel] for read in found[place].reads)
        feeds.update(called[found[reader].kernel] for reader in readers[place])
        feeds.update([OUTPUT] * found[place].is_output)
        weights += found[place].weights
        if not found[place].weights:
            near += _nearest(found, [read for read in found[place].reads if isinstance(read, int)], None)
            near += _nearest(found, readers[place], readers)
    return Surroundings(name, len(own), patterns(weights), patterns(near), dict(fed_by), dict(feeds))


def _nearest(found: Sequence[Launch], places: list[int], readers: dict[int, list[int]] | None) -> list[str]:
    """Weights of the first launches with any, against the stream, or with it where ``readers`` are given."""
    seen: set[int] = set()
    weights: list[str] = []
    while places:
        place = places.pop()
        if place in seen:
            continue
        seen.add(place)
        if found[place].weights:
            weights += found[place].weights
        else:
            places += readers[place] if readers else [read for read in found[place].reads if isinstance(read, int)]
    return weights


def patterns(weights: Sequence[str]) -> list[str]:
    """Layers by the names of their weights, those that differ in a number told once, with the numbers."""
    numbers: dict[str, set[int]] = {}
    for weight in weights:
        layer = weight.rpartition(".")[0] or weight
        found = [int(number) for number in re.findall(r"(?<=[._])\d+(?=[._]|$)", layer)]
        numbers.setdefault(re.sub(r"(?<=[._])\d+(?=[._]|$)", "*", layer), set()).update(found)
    return [f"{layer} (* = {_range(sorted(found))})" if found else layer for layer, found in numbers.items()]


def _range(numbers: list[int]) -> str:
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def told(one: Surroundings, form: str) -> str:
    """In one of ``FORMS``."""
    return {"text": _text, "dot": _dot, "mermaid": _mermaid}[form](one)


def _text(one: Surroundings) -> str:
    lines = [f"{one.name}: {one.launches} launch{'es' if one.launches != 1 else ''}"]
    for title, layers in (("computes", one.layers), ("lies between", one.near)):
        lines += [f"  {title if not place else '':13}{layer}" for place, layer in enumerate(layers)]
    for title, counts in (("is fed by", one.fed_by), ("feeds", one.feeds)):
        lines += [f"  {title if not place else '':13}{_of(*item)}" for place, item in enumerate(counts.items())]
    return "\n".join(lines)


def _of(name: str, count: int) -> str:
    return f"{name}, {count} times" if count > 1 else name


def _edges(one: Surroundings) -> list[tuple[str, str, int]]:
    before = [(source, one.name, count) for source, count in one.fed_by.items()]
    return before + [(one.name, target, count) for target, count in one.feeds.items() if target != one.name]


def _dot(one: Surroundings) -> str:
    lines = [f'  "{source}" -> "{target}" [label="{count}"];' for source, target, count in _edges(one)]
    label = "\\n".join([f"{one.name} ({one.launches})", *one.layers])
    return "\n".join(["digraph {", f'  "{one.name}" [shape=box, label="{label}"];', *lines, "}"])


def _mermaid(one: Surroundings) -> str:
    names = list(dict.fromkeys([one.name, *one.fed_by, *one.feeds]))
    label = "<br>".join([f"{one.name} ({one.launches})", *one.layers])
    lines = [f'  n{place}["{label if name == one.name else name}"]' for place, name in enumerate(names)]
    lines += [f"  n{names.index(source)} -->|{count}| n{names.index(target)}" for source, target, count in _edges(one)]
    return "\n".join(["graph TD", *lines])
