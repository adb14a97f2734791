"""A data directory is ours, or nothing is written there; it belongs to one database."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import databases
from tuner.cli.datadir import hold_data_dir
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.identity import id_if_known
from tuner.db.migrate import create_or_check, upgrade
from tuner.errors import DataDirForeign
from tuner.ownership import claim

ASSETS = Path(__file__).parents[2] / "migration" / "assets"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(root: Path) -> dict[str, str]:
    """All that is below a folder, files with their content."""
    return {str(path.relative_to(root)): path.read_text() if path.is_file() else "" for path in root.rglob("*")}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_a_data_directory_that_we_make_is_closed_to_other_users(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "parent" / "data")
    claim(settings)
    assert mode(settings.root) == 0o700
    assert mode(settings.root / "run") == 0o700
    assert mode(settings.database_id_file) == 0o600


@pytest.mark.usefixtures("open_umask")
def test_what_an_earlier_release_left_open_in_run_is_closed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "run" / "lock").touch()
    before = mode(tmp_path)
    claim(settings)
    assert mode(tmp_path / "run") == 0o700
    assert mode(tmp_path) == before, "that one is the user's"


@pytest.mark.parametrize("held", ["chapter1.txt", "jobs/thesis/chapter1.txt", "run/lock", "run/logs/web.log", ".git/x"])
@pytest.mark.parametrize("act", [claim, create_or_check, upgrade])
def test_a_folder_that_holds_something_else_is_refused_and_left_alone(
    tmp_path: Path, held: str, act: Callable[[Settings], object]
) -> None:
    (tmp_path / held).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / held).write_text("years of work")
    before = tree(tmp_path)
    with pytest.raises(DataDirForeign, match="not empty") as caught:
        act(Settings(data_dir=tmp_path))
    assert "--data-dir" in caught.value.hint
    assert tree(tmp_path) == before


def test_neither_the_service_nor_the_demo_writes_there(tmp_path: Path) -> None:
    (tmp_path / "chapter1.txt").write_text("years of work")
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(DataDirForeign), hold_data_dir(settings):
        pytest.fail("held what is not ours")
    with pytest.raises(DataDirForeign), local_service(settings):
        pytest.fail("started there")
    assert [path.name for path in tmp_path.iterdir()] == ["chapter1.txt"]


def test_an_empty_disk_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    create_or_check(Settings(data_dir=tmp_path))


def test_a_claim_that_was_cut_short_is_no_strangers(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    claim(Settings(data_dir=tmp_path))


def test_a_data_directory_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    shutil.copy(ASSETS / "0003.db", tmp_path / "tunesmith.db")
    (tmp_path / "artifacts").mkdir()
    upgrade(settings)
    create_or_check(settings)
    assert settings.database_id_file.read_text() == id_of(settings)


def test_a_data_directory_of_an_earlier_release_on_another_database_goes_on(tmp_path: Path) -> None:
    elsewhere = Settings(data_dir=tmp_path / "postgres")
    databases.create(elsewhere)
    root = tmp_path / "data"
    (root / "run" / "logs").mkdir(parents=True)
    (root / "run" / "lock").write_text("4711")
    (root / "artifacts").mkdir()
    settings = Settings(data_dir=root, database_url=elsewhere.db_url)
    create_or_check(settings)
    assert settings.database_id_file.read_text() == id_of(settings)


def test_an_earlier_releases_copy_that_is_put_back_is_the_folders_own(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    create_or_check(settings)
    before = settings.database_id_file.read_text()
    for name in ("tunesmith.db", "tunesmith.db-wal", "tunesmith.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(ASSETS / "0003.db", tmp_path / "tunesmith.db")
    upgrade(settings)
    assert settings.database_id_file.read_text() == id_of(settings) == before


def id_of(settings: Settings) -> str | None:
    engine = make_engine(settings)
    found = id_if_known(engine)
    engine.dispose()
    return found


def test_each_database_has_an_id_of_its_own_which_it_keeps(tmp_path: Path) -> None:
    one, other = (Settings(data_dir=tmp_path / name) for name in ("one", "other"))
    for settings in (one, other, one):
        create_or_check(settings)
    assert id_of(one) == one.database_id_file.read_text()
    assert id_of(one) != id_of(other)


@pytest.mark.parametrize("act", [create_or_check, upgrade])
def test_another_database_does_not_get_the_folder(tmp_path: Path, act: Callable[[Settings], object]) -> None:
    ours, other = (Settings(data_dir=tmp_path / name) for name in ("ours", "other"))
    databases.create(ours)
    create_or_check(other)
    bound = ours.database_id_file.read_text()
    with pytest.raises(DataDirForeign, match=rf"belongs to database {bound[:12]}.*{id_of(other)[:12]}") as caught:
        act(ours.model_copy(update={"database_url": other.db_url}))
    assert "TUNER_DATABASE_URL" in caught.value.hint
    assert ours.database_id_file.read_text() == bound


@pytest.mark.parametrize("act", [create_or_check, upgrade])
def test_no_new_database_is_made_where_one_is_missed(tmp_path: Path, act: Callable[[Settings], object]) -> None:
    settings = Settings(data_dir=tmp_path / "ours")
    databases.create(settings)
    empty = tmp_path / "empty.db"
    with pytest.raises(DataDirForeign, match="an empty one"):
        act(settings.model_copy(update={"database_url": f"sqlite:///{empty}"}))
    assert not empty.exists()


def test_the_folder_can_be_given_to_another_database_for_good(tmp_path: Path) -> None:
    ours, other = (Settings(data_dir=tmp_path / name) for name in ("ours", "other"))
    databases.create(ours)
    create_or_check(other)
    ours.database_id_file.unlink()
    create_or_check(ours.model_copy(update={"database_url": other.db_url}))
    assert ours.database_id_file.read_text() == id_of(other)
