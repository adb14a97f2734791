"""What a lower precision may lose, and on which texts that is measured"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "judged_texts",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_judged_texts_job_id_job")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_judged_texts")),
    )
    op.add_column("job", sa.Column("max_drop", sa.Float(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("job", "max_drop")
    op.drop_table("judged_texts")
