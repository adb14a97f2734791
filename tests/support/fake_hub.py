"""A model hub on loopback that serves local folders, in the few routes a snapshot download uses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(models: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve ``{hub id: folder}``; yields the endpoint and the list of paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            body, headers = _find(models, path)
            self.send_response(404 if body is None else 200)
            if body is None:
                headers = {"X-Error-Code": "RepoNotFound"}
            content = body or b""
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _find(models: dict[str, Path], path: str) -> tuple[bytes | None, dict[str, str]]:
    as_json = {"Content-Type": "application/json"}
    for hub_id, folder in models.items():
        if path in (f"/api/models/{hub_id}", f"/api/models/{hub_id}/revision/main"):
            siblings = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
            return json.dumps({"id": hub_id, "sha": COMMIT, "siblings": siblings}).encode(), as_json
        if path == f"/api/models/{hub_id}/tree/{COMMIT}":
            files = [
                {
                    "type": "file",
                    "path": f.name,
                    "size": f.stat().st_size,
                    "oid": hashlib.sha1(f.read_bytes()).hexdigest(),
                }
                for f in sorted(folder.iterdir())
            ]
            return json.dumps(files).encode(), as_json
        prefix = f"/{hub_id}/resolve/{COMMIT}/"
        if path.startswith(prefix) and (folder / path[len(prefix) :]).is_file():
            content = (folder / path[len(prefix) :]).read_bytes()
            return content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
    return None, {}
