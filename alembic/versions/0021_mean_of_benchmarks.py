"""A benchmark keeps the mean and the standard deviation of its runs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: of comparisons made before, nobody knows them."""
    op.add_column("benchmark", sa.Column("mean_ms", sa.Float(), nullable=True))
    op.add_column("benchmark", sa.Column("std_ms", sa.Float(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("benchmark", "std_ms")
    op.drop_column("benchmark", "mean_ms")
