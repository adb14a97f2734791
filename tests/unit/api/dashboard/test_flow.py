"""The picture of a model's kernels holds each of them once, and a line for whatever feeds what."""

from __future__ import annotations

from api.dashboard.charts.flow import Picture, picture
from tuner.schemas import JobWorkloadOut

EDGES = [["ids", "wl-a", 1], ["wl-a", "wl-b", 2], ["wl-b", "wl-c", 2], ["wl-a", "wl-c", 2], ["wl-c", "wl-a", 1]]
EDGES.append(["wl-c", "output", 1])


def workload(name: str, position: int, share: float | None = None) -> JobWorkloadOut:
    given = {"workload_id": f"wl-{name}", "name": f"kernel_{name}", "summary": "", "flops": 1.0, "weight": 2}
    rest = dict.fromkeys(("untuned_us", "best_us", "gflops", "intensity", "peak_share"))
    fields = {**given, **rest, "position": position, "share": share, "tunable": True, "trials": 0}
    return JobWorkloadOut.model_validate(fields)


def drawn() -> Picture:
    """Of three kernels that are told in another order, and one of a precision that lost."""
    shares = {"c": (2, 0.5), "a": (0, 0.3), "b": (1, 0.2), "other": (3, None)}
    found = picture(EDGES, [workload(name, *where) for name, where in shares.items()])
    assert found is not None
    return found


def test_kernels_stand_in_their_order_between_inputs_and_output() -> None:
    found = drawn()
    assert [node.name for node in found.nodes] == ["ids", "kernel_a", "kernel_b", "kernel_c", "output"]
    assert [node.is_kernel for node in found.nodes] == [False, True, True, True, False]
    places = [node.y for node in found.nodes]
    assert places == sorted(set(places))
    assert places[-1] + found.box < found.height
    assert found.nodes[3].filled == 0.5 * (found.right - found.left)
    assert found.nodes[3].detail == "2 launches, 50 %"


def test_each_feeding_is_a_line_that_says_so() -> None:
    arcs = {arc.told: arc for arc in drawn().arcs}
    assert len(arcs) == len(EDGES)
    assert " V " in arcs["kernel_a feeds kernel_b, 2 times"].path
    assert not arcs["kernel_a feeds kernel_c, 2 times"].back
    back = arcs["kernel_c feeds kernel_a"]
    assert back.back
    assert back.path.startswith(f"M {drawn().left} ")


def test_what_is_not_known_is_not_drawn() -> None:
    assert picture([], [workload("a", 0)]) is None
    assert picture(EDGES, []) is None


def test_it_is_told_in_words_as_well() -> None:
    assert drawn().words == (
        "3 kernels, from kernel_a to kernel_c, and what feeds what; kernel_c takes the most of the time, 50 %."
    )
