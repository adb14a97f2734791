"""Artifacts that devices are to load and run, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from tuner.db import clock
from tuner.db.models import Artifact, DeviceCheck, Job
from tuner.schemas import ArtifactOut, CheckState, DeviceCheckOut


def ask(session: Session, artifact_id: str, device_key: str) -> DeviceCheck:
    """Want an artifact checked on a device, once more if it was. Call within ``write``."""
    row = get(session, artifact_id, device_key) or DeviceCheck(artifact_id=artifact_id, device_key=device_key)
    if row.state != "running":
        row.state, row.found, row.ended_at, row.asked_at = "wanted", {}, None, clock.now(session)
        session.add(row)
        session.flush()
    return row


def compiled_for(session: Session) -> list[str]:
    """The targets that artifacts were compiled for without a device, as their jobs name them."""
    query = select(Job.target).join(Artifact, col(Artifact.job_id) == col(Job.id)).distinct()
    return list(session.exec(query.where(col(Job.compile_only).is_(True), col(Artifact.evicted_at).is_(None))))


def unseen(session: Session, targets: Collection[str], device_key: str, most: int) -> list[str]:
    """The newest artifacts that were compiled for one of the targets and that no device has run, nor was to."""
    checked = select(DeviceCheck.artifact_id).where(
        DeviceCheck.artifact_id == Artifact.id, DeviceCheck.device_key == device_key
    )
    query = (
        select(Artifact.id)
        .join(Job, col(Job.id) == col(Artifact.job_id))
        .where(col(Job.target).in_(targets), col(Job.compile_only).is_(True), col(Artifact.evicted_at).is_(None))
        .where(~checked.exists())
        .order_by(col(Artifact.created_at).desc())
        .limit(most)
    )
    return list(session.exec(query))


def get(session: Session, artifact_id: str, device_key: str) -> DeviceCheck | None:
    """What is known of an artifact on a device."""
    return session.get(DeviceCheck, (artifact_id, device_key))


def open_ones(session: Session) -> list[DeviceCheck]:
    """Those that are not over, the oldest first."""
    query = select(DeviceCheck).where(col(DeviceCheck.ended_at).is_(None))
    return list(session.exec(query.order_by(col(DeviceCheck.asked_at), col(DeviceCheck.artifact_id))))


def set_state(session: Session, artifact_id: str, device_key: str, state: CheckState, found: dict[str, Any]) -> None:
    """Note how far a check is; what is ``loaded`` or ``failed`` is over. Call within ``write``."""
    row = get(session, artifact_id, device_key)
    if row is not None:
        row.state, row.found = state, found
        row.ended_at = clock.now(session) if state in ("loaded", "failed") else None
        session.add(row)


def forget(session: Session, artifact_id: str) -> None:
    """Delete what is known of an artifact that goes."""
    session.execute(delete(DeviceCheck).where(col(DeviceCheck.artifact_id) == artifact_id))


def shown(session: Session, artifacts: Iterable[Artifact]) -> list[ArtifactOut]:
    """Artifacts with their checks, the last first."""
    rows = list(artifacts)
    query = select(DeviceCheck).where(col(DeviceCheck.artifact_id).in_([one.id for one in rows]))
    checks: dict[str, list[DeviceCheckOut]] = {}
    for one in session.exec(query.order_by(col(DeviceCheck.asked_at).desc())):
        checks.setdefault(one.artifact_id, []).append(as_shown(one))
    return [ArtifactOut.model_validate({**row.model_dump(), "checks": checks.get(row.id, [])}) for row in rows]


def since(session: Session, artifact: Artifact) -> dict[str, Any]:
    """What of an artifact's manifest is another after its checks; nothing where there was none."""
    (seen,) = shown(session, [artifact])
    if not any(one.ended_at for one in seen.checks):
        return {}
    checks = [one.model_dump(mode="json") for one in seen.checks]
    return {"tested": seen.tested, "checks": checks, **({"load_check": "device"} if seen.runs else {})}


def as_shown(row: DeviceCheck) -> DeviceCheckOut:
    """One check as it is shown."""
    return DeviceCheckOut(
        device=row.device_key, state=row.state, found=row.found, asked_at=row.asked_at, ended_at=row.ended_at
    )
