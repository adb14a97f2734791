"""MetaSchedule's files in a zip: what is no such archive is named."""

from __future__ import annotations

import io
import zipfile

import pytest

from tuner.db.metaschedule import RECORDS, WORKLOADS
from tuner.errors import UploadInvalid
from tuner.legacy import metaschedule


@pytest.mark.parametrize(("there", "missing"), [((), WORKLOADS), ((RECORDS,), WORKLOADS), ((WORKLOADS,), RECORDS)])
def test_a_zip_that_lacks_a_file_of_the_pair_is_refused_by_its_name(there: tuple[str, ...], missing: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in there:
            archive.writestr(name, "[]\n")
    with pytest.raises(UploadInvalid, match=f"{missing} is not in it"):
        list(metaschedule.lines(packed))
