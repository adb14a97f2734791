"""Times of finals are kept by what was timed, and a round says that its search has nothing left to try"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tuner.db.types import UtcTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: of rounds before, nobody said so."""
    with op.batch_alter_table("round") as table:
        table.add_column(sa.Column("exhausted", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("round") as table:
        table.alter_column("exhausted", server_default=None)
    op.create_table(
        "final_times",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("run_secs", sa.JSON(), nullable=False),
        sa.Column("canary_secs", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_final_times")),
    )
    op.create_index(op.f("ix_final_times_created_at"), "final_times", ["created_at"], unique=False)


def downgrade() -> None:
    """Undo."""
    op.drop_table("final_times")
    with op.batch_alter_table("round") as table:
        table.drop_column("exhausted")
