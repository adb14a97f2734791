"""A round says how fast its device was, so that nobody reads all of a long job's records for it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_INDEX, _INDEX_BEFORE = "ix_round_job_id_number_canary_ratio", "ix_round_job_id_number"


def upgrade() -> None:
    """Apply: each round has the mean of its records."""
    op.add_column("round", sa.Column("canary_ratio", sa.Float(), nullable=True))
    op.execute(
        "UPDATE round SET canary_ratio = (SELECT avg(record.canary_ratio) FROM record WHERE record.round_id = round.id)"
    )
    op.drop_index(op.f(_INDEX_BEFORE), "round")
    op.create_index(op.f(_INDEX), "round", ["job_id", "number", "canary_ratio"], unique=False)


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f(_INDEX), "round")
    op.create_index(op.f(_INDEX_BEFORE), "round", ["job_id", "number"], unique=False)
    op.drop_column("round", "canary_ratio")
