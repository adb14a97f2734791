"""A benchmark keeps the medians of its rounds, by which a winner is called"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: of comparisons made before, nobody knows the rounds."""
    with op.batch_alter_table("benchmark") as benchmark:
        benchmark.add_column(sa.Column("rounds_ms", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("benchmark") as benchmark:
        benchmark.alter_column("rounds_ms", server_default=None)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("benchmark") as benchmark:
        benchmark.drop_column("rounds_ms")
