"""Jobs and rounds say when they began by a clock that never jumps; rounds are numbered"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: what is running when the schema changes began at a moment that is not known."""
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("stage_stamp", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("round") as round_:
        round_.add_column(sa.Column("number", sa.Integer(), nullable=False, server_default="0"))
        round_.add_column(sa.Column("stamp", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("job") as job:
        job.alter_column("stage_stamp", server_default=None)
    with op.batch_alter_table("round") as round_:
        round_.alter_column("number", server_default=None)
        round_.alter_column("stamp", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("round") as round_:
        round_.drop_column("stamp")
        round_.drop_column("number")
    with op.batch_alter_table("job") as job:
        job.drop_column("stage_stamp")
