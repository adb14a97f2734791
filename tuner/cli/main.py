"""The command line: what commands there are, and how errors look."""

from __future__ import annotations

import typer

from tuner.cli import (
    agent,
    agent_service,
    artifacts,
    catalog,
    checking,
    comparing,
    compiling,
    demo,
    failures,
    history,
    jobs,
    looking,
    operators,
    reading,
    records,
    service,
    tokens,
    uploads,
)
from tuner.cli.common import run_app

app = typer.Typer(
    name="tunesmith",
    help="Makes transformer models fast on the hardware you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(demo.demo, service.serve, service.doctor, service.gc),
    *(jobs.tune, operators.tune_op, jobs.jobs, jobs.show, failures.retry, jobs.follow),
    *(history.history, comparing.compare),
    *(jobs.cancel, jobs.pause, jobs.resume, jobs.delete),
    *(compiling.compile, artifacts.artifacts, artifacts.download, artifacts.run, checking.check),
    *(looking.tasks, looking.export),
    *(reading.classify, reading.embed),
    *(catalog.targets, catalog.devices, service.version),
):
    app.command()(command)
agent.agent_app.command("install")(agent_service.install_agent)
agent.agent_app.command("uninstall")(agent_service.uninstall_agent)
app.add_typer(agent.agent_app, name="agent")
app.add_typer(records.app, name="records")
app.add_typer(catalog.models_app, name="models")
app.add_typer(uploads.uploads_app, name="uploads")
app.add_typer(tokens.token_app, name="token")
app.add_typer(service.db_app, name="db")


def main() -> None:
    """Runs the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
