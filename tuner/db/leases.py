"""Leases: who may act for a name until when."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import Session

from tuner.db import clock
from tuner.db.models import Lease


def acquire(session: Session, name: str, owner: str, ttl_sec: float) -> bool:
    """Take or renew the lease for ``ttl_sec`` seconds; False when another owner holds it. Call within ``write``.

    One that would last longer than that was written before the clock went back, and holds nobody off.
    """
    now = clock.now(session)
    expires_at = now + timedelta(seconds=ttl_sec)
    lease = session.get(Lease, name)
    if lease is not None and lease.owner != owner and now < lease.expires_at <= expires_at:
        return False
    if lease is None:
        session.add(Lease(name=name, owner=owner, expires_at=expires_at))
    else:
        lease.owner, lease.expires_at = owner, expires_at
    session.flush()
    return True


def belongs_to(session: Session, name: str, owner: str) -> bool:
    """Has nobody else taken the lease since ``owner`` had it?"""
    lease = session.get(Lease, name)
    return lease is not None and lease.owner == owner


def release(session: Session, name: str, owner: str) -> None:
    """Give the lease back if ``owner`` holds it."""
    lease = session.get(Lease, name)
    if lease is not None and lease.owner == owner:
        session.delete(lease)
        session.flush()


def is_held(session: Session, name: str) -> bool:
    """Is anybody's lease of this name still running?"""
    lease = session.get(Lease, name)
    return lease is not None and lease.expires_at > clock.now(session)
