from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.support.rows import utcnow
from tuner.jobs.old_artifacts import Holder, replaced

NOW = utcnow()
LAST_YEAR, LAST_MONTH, TODAY = (NOW - timedelta(days=days) for days in (400, 40, 0.1))
BEFORE = NOW - timedelta(days=30)


def held(artifact_id: str, ended_at: datetime | None, model: str = "bert") -> Holder:
    return Holder(artifact_id, (model, 1, 128, "local"), ended_at)


@pytest.mark.parametrize(
    ("holders", "gone"),
    [
        ([], set()),
        ([held("a", LAST_YEAR)], set()),  # the newest there is
        ([held("a", LAST_YEAR), held("b", LAST_MONTH)], {"a"}),
        ([held("a", LAST_YEAR), held("b", LAST_YEAR, "gpt")], set()),  # of something else
        ([held("a", LAST_YEAR), held("b", TODAY)], {"a"}),
        ([held("a", TODAY), held("b", TODAY + timedelta(hours=1))], set()),  # replaced, but not for long
        ([held("a", LAST_YEAR), held("b", None)], {"a"}),  # its job is about to end
        ([held("a", LAST_YEAR), held("a", LAST_MONTH), held("b", LAST_YEAR)], {"b"}),  # made again
        ([held("a", LAST_YEAR), held("b", LAST_MONTH), held("a", LAST_YEAR, "gpt")], set()),  # another's newest
    ],
)
def test_an_artifact_goes_when_it_was_replaced_in_all_it_was_made_for(holders: list[Holder], gone: set[str]) -> None:
    assert replaced(holders, BEFORE) == gone
