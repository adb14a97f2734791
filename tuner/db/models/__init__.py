"""The tables. The database is the only truth; everything else can be lost and made again."""

from tuner.db.models.artifacts import Artifact, Benchmark, DeviceCheck, Evidence
from tuner.db.models.columns import new_id
from tuner.db.models.jobs import Event, Job, JobWorkload, JudgedTexts, Model, Round, Submission
from tuner.db.models.records import CanaryTime, FinalTimes, Record, Workload
from tuner.db.models.service import Device, Identity, Lease, Token
from tuner.db.models.uploads import Upload

__all__ = [
    "Artifact",
    "Benchmark",
    "CanaryTime",
    "Device",
    "DeviceCheck",
    "Event",
    "Evidence",
    "FinalTimes",
    "Identity",
    "Job",
    "JobWorkload",
    "JudgedTexts",
    "Lease",
    "Model",
    "Record",
    "Round",
    "Submission",
    "Token",
    "Upload",
    "Workload",
    "new_id",
]
