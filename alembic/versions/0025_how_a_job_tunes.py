"""Which kernels a job tunes, and how it takes times"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_NAMES = ("only", "skip")
_TERMS = ("repeat", "min_repeat_ms", "rounds")


def upgrade() -> None:
    """Apply: earlier jobs tuned every kernel, and took times as all did."""
    with op.batch_alter_table("job") as job:
        for name in _NAMES:
            job.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
        for name in _TERMS:
            job.add_column(sa.Column(name, sa.Integer(), nullable=True))
    with op.batch_alter_table("job") as job:
        for name in _NAMES:
            job.alter_column(name, server_default=None)


def downgrade() -> None:
    """Undo."""
    for name in (*reversed(_TERMS), *reversed(_NAMES)):
        op.drop_column("job", name)
