"""A comparison to pass on holds what was measured, and no markup of whoever named the model."""

from __future__ import annotations

import csv
from typing import Any
from xml.etree import ElementTree

from api.comparison import as_csv, as_svg
from tests.support.rows import utcnow
from tuner.db.models import Benchmark, Job, Model
from tuner.jobs.view import describe_job
from tuner.schemas import BenchmarkOut, JobOut


def job(name: str = "bert", **fields: Any) -> JobOut:
    given = {"id": "job-1", "model_id": "m", "target": "local", "budget_trials": 1, "created_at": utcnow(), **fields}
    return describe_job(Job(**given), Model(name=name, source="preset", location=name), [])


def row(variant: str, median_ms: float) -> BenchmarkOut:
    times = {"median_ms": median_ms, "p10_ms": median_ms * 0.9, "p90_ms": median_ms * 1.2}
    found = Benchmark(job_id="job-1", variant=variant, n=9, threads=2, machine="a CPU", created_at=utcnow(), **times)
    return BenchmarkOut.model_validate(found, from_attributes=True)


ROWS = [row("torch-sdpa", 100.0), row("tuned", 50.0)]


def bars(svg: str) -> list[float]:
    found = ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}rect")
    return [float(one.attrib["width"]) for one in found if one.attrib["width"] != "100%"]


def test_bars_are_as_long_as_what_they_stand_for_and_stay_in_the_picture() -> None:
    fast, slow = bars(as_svg(job(), ROWS))
    assert abs(slow / fast - 2.0) < 0.01
    assert slow * 1.2 < 860 - 230
    assert bars(as_svg(job(), [row("tuned", 0.0)])) == [0.0]


def test_random_weights_are_told_beside_the_numbers() -> None:
    assert "random weights" in as_svg(job(weights="random"), ROWS)
    assert "random weights" not in as_svg(job(weights="pretrained"), ROWS)


def test_a_name_is_never_markup_and_never_a_formula() -> None:
    svg = as_svg(job("<script>alert(1)</script>&\x0b"), ROWS)
    assert ElementTree.fromstring(svg).findall(".//{http://www.w3.org/2000/svg}script") == []
    (first, _) = csv.DictReader(as_csv(job("=cmd|'/C calc'!A0"), ROWS).splitlines())
    assert first["model"] == "'=cmd|'/C calc'!A0"
    assert (first["variant"], float(first["median_ms"])) == ("tuned", 50.0)
