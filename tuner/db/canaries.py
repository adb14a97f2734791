"""How long the reference kernel takes on each device: the yardstick outlives the processes that measure."""

from __future__ import annotations

from statistics import median

from sqlmodel import Session, col, select

from tuner.db.models import CanaryTime, Round

_USUAL_OF = 101  # times, the latest: some hours of tuning


def usual_sec(session: Session, device: str, family: str) -> float | None:
    """What the canary of a family usually takes on a device, in seconds; None while nobody has timed it there."""
    query = select(CanaryTime.seconds).where(CanaryTime.device == device, CanaryTime.target_family == family)
    found = session.exec(query.order_by(col(CanaryTime.id).desc()).limit(_USUAL_OF)).all()
    return median(found) if found else None


def note(session: Session, device: str, family: str, seconds: float) -> None:
    """Keep what it took in one session. Call within ``write``."""
    session.add(CanaryTime(device=device, target_family=family, seconds=seconds))


def ratios_of(session: Session, job_id: str) -> list[float]:
    """How fast the device was in each of a job's rounds that timed something."""
    found = session.exec(select(Round.canary_ratio).where(Round.job_id == job_id)).all()
    return [value for value in found if value is not None]
