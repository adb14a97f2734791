"""What every command shares: its options, how it finds the service, how it prints."""

from __future__ import annotations

import json
import os
import reprlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_args

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from tuner.cli.datadir import running_service
from tuner.cli.whose import check_is_own
from tuner.client.http import Client
from tuner.config import DEFAULT_PORT, Settings
from tuner.config import settings_with as settings_with
from tuner.errors import InvalidInput, TunerError
from tuner.schemas.common import Head, Precision, PrecisionWish, Strategy
from tuner.tokens import known_token

M = TypeVar("M", bound=BaseModel)
PIPE_WIDTH = 200  # columns

UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="TUNER_URL", help="Address of the service.", show_default="the running service's"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
HeadOption = Annotated[
    str | None, typer.Option("--head", help=f"One of {', '.join(get_args(Head))}.", show_default="the model's own")
]
BatchOption = Annotated[
    int | None,
    typer.Option("--batch", help="For one shape; neither: any texts.", show_default="1 or any"),
]
SeqLenOption = Annotated[
    int | None,
    typer.Option("--seq-len", help="For one shape; neither: any texts.", show_default="128 or any"),
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help=f"Of the model's products: {', '.join(get_args(Precision))}.")
]
WishedPrecisionOption = Annotated[
    str, typer.Option("--precision", help=f"Of the model's products: {', '.join(get_args(PrecisionWish))}.")
]
StrategyOption = Annotated[
    Strategy, typer.Option("--strategy", help=f"How candidates are found: {', '.join(get_args(Strategy))}.")
]
MaxDropOption = Annotated[
    str | None,
    typer.Option("--max-drop", help="What a lower precision may lose: 0.5%.", show_default="the usual bounds"),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder that holds all state.", show_default="~/.tunesmith")
]

# A pipe has no width: tables are whole there. A path may hold ":x:", which is no emoji.
console = Console(emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
notes = Console(emoji=False, stderr=True)  # progress and remarks, so that stdout stays clean for pipes


def run_app(app: Callable[[], Any]) -> None:
    """Run a command line; a ``TunerError``, or a path that can't be used, is two lines on stderr and exit code 1,
    wrong usage is exit code 2."""
    try:
        app()
    except TunerError as error:
        _refuse(error)
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(InvalidInput(f"{error.filename}: {error.strerror}.", "Give another path, or clear this one's way."))


def _refuse(error: TunerError) -> NoReturn:
    notes.print(f"error: {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        notes.print(f"hint: {error.hint}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


def checked(kind: type[M], wish: Mapping[str, Any], argument: str = "MODEL") -> M:
    """What was typed as a request; raises ``InvalidInput`` naming the option, or ``argument``, that is wrong."""
    try:
        return kind.model_validate(wish)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        typed = argument if field in ("model", "name") else "--" + field.replace("_", "-")
        got = reprlib.repr(first["input"])  # whose middle is left out when it is long
        raise InvalidInput(f"{typed}: {first['msg']}, got {got}.", "See the command's --help.") from None


def part(text: str | None) -> float | None:
    """``0.5%``, or 0.005, as a number. Raises InvalidInput."""
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        raise InvalidInput(f"--max-drop: {text} is no part.", "Write 0.5%, or 0.005.") from None


def service_url(settings: Settings) -> str:
    """Where the service of this data directory listens: what it wrote when it started, else the default."""
    running = running_service(settings)
    return str(running["url"]) if running else f"http://127.0.0.1:{settings.port or DEFAULT_PORT}"


def token_for(settings: Settings, url: str) -> str | None:
    """What to show the service at ``url``: TUNER_TOKEN; to the one that runs in this data directory, its own.

    To nobody else: another user's process may listen where our service once did, or at the same port of another
    address of this machine.
    """
    if token := os.environ.get("TUNER_TOKEN"):
        return token
    running = running_service(settings)
    return known_token(settings.token_file) if running and running["url"] == url.rstrip("/") else None


@contextmanager
def connected(url: str | None) -> Iterator[Client]:
    """A client of the service the user means."""
    settings = settings_with()
    if url is None:
        url = service_url(settings)
        with Client(url) as stranger:  # who may be another's is shown no token
            check_is_own(settings, stranger)
    with Client(url, token_for(settings, url)) as client:
        yield client


def program() -> str:
    """How this program is called from where the user is."""
    return "tunesmith" if shutil.which("tunesmith") else str(Path(sys.prefix, "bin", "tunesmith"))


def print_json(value: BaseModel | Iterable[BaseModel] | Mapping[str, Any]) -> None:
    """One JSON document on stdout, without colours or wrapping."""
    plain: Any = value
    if isinstance(value, BaseModel):
        plain = value.model_dump(mode="json")
    elif not isinstance(value, Mapping):
        plain = [v.model_dump(mode="json") for v in value]
    json.dump(plain, sys.stdout, indent=2)
    sys.stdout.write("\n")
