"""Commands that run or mend the service on this machine."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated

import typer
from rich.markup import escape

from rpc.addresses import MAX_PORT
from tuner.cli.common import DataDirOption, console, notes, settings_with

db_app = typer.Typer(help="Look after the database.", no_args_is_help=True)
_SHOWN = ("tunesmith", "apache-tvm", "apache-tvm-ffi", "torch", "transformers")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=MAX_PORT, help="Port to listen on; 0: any free one.", show_default="8000 or the next free one"
        ),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Start the service on this machine; Ctrl-C ends it."""
    from tuner.cli.serve import serve as run_service

    run_service(settings_with(host=host, port=port, data_dir=data_dir))


def doctor(data_dir: DataDirOption = None) -> None:
    """Check that everything the service needs is there and works."""
    from tuner.cli.doctor import doctor as examine

    problems = 0
    for check in examine(settings_with(data_dir=data_dir), lambda what: notes.print(what, highlight=False)):
        problems += not check.ok
        console.print(
            f"[{'green]ok  ' if check.ok else 'red]FAIL'}[/] ",
            check.name,
            f"[dim]{escape(check.detail)}[/]",
            highlight=False,
        )
        if not check.ok and check.hint:
            console.print(f"      {check.hint}", markup=False, highlight=False)
    if problems:
        raise typer.Exit(1)


@db_app.command("upgrade")
def db_upgrade(data_dir: DataDirOption = None) -> None:
    """Bring the database to this release's schema; a copy is kept. The service must not run meanwhile."""
    from tuner.cli.datadir import hold_data_dir
    from tuner.db.migrate import upgrade

    settings = settings_with(data_dir=data_dir)
    with hold_data_dir(settings):
        backup = upgrade(settings)
    notes.print(f"the database in {settings.root} is up to date", highlight=False, soft_wrap=True)
    if backup:
        notes.print(f"it was copied to {backup} before", highlight=False, soft_wrap=True)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Let go of what nobody needs any more; a running service does so every hour."""
    from tuner.cli.words import size
    from tuner.db.engine import make_engine
    from tuner.db.migrate import check_schema
    from tuner.jobs.housekeeping import clean, survey

    settings = settings_with(data_dir=data_dir)
    check_schema(settings)
    engine = make_engine(settings)
    found = survey(settings, engine)
    gone = []
    for one in found.going if dry_run else clean(settings, engine):
        console.print(f"{one.kind:11} {one.name}  {size(one.size_bytes)}  {one.why}", markup=False, soft_wrap=True)
        gone.append(one)
    engine.dispose()
    for artifact_id in found.lost:
        notes.print(f"the file of {artifact_id} is gone, and nobody here removed it", soft_wrap=True, highlight=False)
    total = size(sum(one.size_bytes for one in gone))
    notes.print(f"{total} {'would go' if dry_run else 'went'}", highlight=False)


def version() -> None:
    """Show the versions of TuneSmith and what it stands on."""
    for name in _SHOWN:
        console.print(f"{name:15} {metadata.version(name)}", highlight=False)
    console.print(f"{'python':15} {platform.python_version()}", highlight=False)
