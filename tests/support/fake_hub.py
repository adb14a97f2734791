"""A model hub on loopback that serves local folders, in the few routes a snapshot download uses."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.support.processes import patience
from tuner.importers import hub as hub_client

_BLOCK = 1024 * 1024
_PATIENCE_SEC = round(patience(10))  # with a hub that shares its processor with all tests


@dataclass
class FakeHub:
    """A hub that is up; ``asked`` are the paths asked for.

    While ``holding``, weights stop after their first bytes; with ``pause_sec`` they come 1 MiB at a time. One that
    ``understates`` says of weights that they have a hundred bytes.
    """

    endpoint: str
    asked: list[str] = field(default_factory=list)
    holding: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    pause_sec: float = 0.0
    understates: bool = False

    def downloads(self, name: str = "model.safetensors") -> int:
        """How often a file was sent."""
        return sum(path.startswith("GET ") and path.endswith(f"/{name}") for path in self.asked)


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Have this process ask that hub, patiently: what ``HF_ENDPOINT`` does, but it is read at import."""
    monkeypatch.setattr(hub_client, "PROBE_TIMEOUT_SEC", _PATIENCE_SEC)
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setattr(constants, name, _PATIENCE_SEC)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def use_in_processes(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    """Have processes that are started from here ask that hub, patiently, with a cache of their own."""
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setenv(name, str(_PATIENCE_SEC))
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")


def commit_of(folder: Path) -> str:
    """The commit that a folder is served as: to write into it is to push."""
    files = [(name, _digest(file, file.stat().st_mtime_ns)) for name, file in _files(folder).items()]
    return hashlib.sha1(repr(files).encode()).hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}


@functools.cache
def _digest(file: Path, _written_at: int) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def fake_hub(models: Mapping[str, Path | Mapping[str, Path]]) -> Iterator[FakeHub]:
    """Serve ``{hub id: folder}``, or folders by the names of revisions, of which ``main`` is the newest."""
    revisions = {hub_id: {"main": given} if isinstance(given, Path) else given for hub_id, given in models.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            body, headers = _find(revisions, path)
            self.send_response(404 if body is None else 200)
            content = body or b""
            told = 100 if hub.understates and not with_body and path.endswith(".safetensors") else len(content)
            for key, value in {**headers, "Content-Length": str(told)}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                try:
                    self._send(content, path.endswith(".safetensors"))
                except (BrokenPipeError, ConnectionResetError):
                    return

        def _send(self, content: bytes, are_weights: bool) -> None:
            if are_weights and hub.holding.is_set():
                self.wfile.write(content[:100])
                hub.held.set()
                while hub.holding.is_set() and not hub.ended.wait(0.02):
                    pass
                content = content[100:]
            if not are_weights or not hub.pause_sec:
                self.wfile.write(content)
                return
            for start in range(0, len(content), _BLOCK):
                self.wfile.write(content[start : start + _BLOCK])
                time.sleep(hub.pause_sec)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _find(models: Mapping[str, Mapping[str, Path]], path: str) -> tuple[bytes | None, dict[str, str]]:
    as_json = {"Content-Type": "application/json"}
    for hub_id, revisions in models.items():
        commits = {commit_of(folder): folder for folder in revisions.values()}
        named = {**{name: (commit_of(folder), folder) for name, folder in revisions.items()}}
        named |= {commit: (commit, folder) for commit, folder in commits.items()}
        base = f"/api/models/{hub_id}"
        if path == base or path.startswith(f"{base}/revision/"):
            revision = path.removeprefix(base).removeprefix("/revision/") or "main"
            if revision not in named:
                return None, {"X-Error-Code": "RevisionNotFound"}
            commit, folder = named[revision]
            siblings = [{"rfilename": name} for name in _files(folder)]
            return json.dumps({"id": hub_id, "sha": commit, "siblings": siblings}).encode(), as_json
        for commit, folder in commits.items():
            if path == f"{base}/tree/{commit}":
                return json.dumps([_entry(*one) for one in _files(folder).items()]).encode(), as_json
            prefix = f"/{hub_id}/resolve/{commit}/"
            if path.startswith(prefix) and (folder / path[len(prefix) :]).is_file():
                content = (folder / path[len(prefix) :]).read_bytes()
                etag = _entry("", folder / path[len(prefix) :])["oid"]
                return content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
    return None, {"X-Error-Code": "RepoNotFound"}


def _entry(name: str, file: Path) -> dict[str, object]:
    found = file.stat()
    return {"type": "file", "path": name, "size": found.st_size, "oid": _digest(file, found.st_mtime_ns)}
