"""Tasks of every kind that decisions are made of."""

from __future__ import annotations

from dataclasses import replace

from tuner.jobs.tasks import Task

ROUND = Task("rnd-1", "job-1", since=100.0, workload_id="wl-1", batch=16, device_key="local")
STAGE = Task("job-1/extract/0", "job-1", since=100.0, stage="extract")
REMOTE = replace(ROUND, key="rnd-2", device_key="m1-cpu")
IMPORT = Task("job-2/import_model/0", "job-2", since=100.0, stage="import_model")
TIMING = Task("job-3/benchmark/0", "job-3", since=100.0, stage="benchmark")
