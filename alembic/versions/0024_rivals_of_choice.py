"""Who else a job's module is timed beside, and what contestants cost before they are warm"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_FIGURES = ("load_ms", "first_ms", "after_idle_ms", "max_abs_error")


def upgrade() -> None:
    """Apply: nobody was asked for before, and nobody knows these figures."""
    for name in _FIGURES:
        op.add_column("benchmark", sa.Column(name, sa.Float(), nullable=True))
    size = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("benchmark", sa.Column("memory_bytes", size, nullable=True))
    with op.batch_alter_table("benchmark") as benchmark:
        benchmark.add_column(sa.Column("precision", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("benchmark") as benchmark:
        benchmark.alter_column("precision", server_default=None)
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("against", sa.JSON(), nullable=False, server_default="[]"))
        job.add_column(sa.Column("absent", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("job") as job:
        job.alter_column("against", server_default=None)
        job.alter_column("absent", server_default=None)


def downgrade() -> None:
    """Undo."""
    op.drop_column("job", "absent")
    op.drop_column("job", "against")
    for name in ("precision", "memory_bytes", *reversed(_FIGURES)):
        op.drop_column("benchmark", name)
