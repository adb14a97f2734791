"""Sending an upload as a client does, and archives as people make them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save

from tests.support.tiny_models import CONFIGS

WEIGHTS = save({"embeddings.word_embeddings.weight": np.zeros((4, 4), np.float32)})
CONFIG = CONFIGS["bert"] | {"max_position_embeddings": 512}
MODEL = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": WEIGHTS}


def declared(files: Mapping[str, bytes], name: str = "mine") -> dict[str, Any]:
    """What is said of files before they are sent."""
    told = [
        {"path": path, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    ]
    return {"name": name, "files": told}


def begun(client: httpx.Client, files: Mapping[str, bytes], name: str = "mine") -> dict[str, Any]:
    """An upload of which nothing has come."""
    answer = client.post("/v1/uploads", json=declared(files, name))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def put(client: httpx.Client, upload: Mapping[str, Any], path: str, content: bytes, offset: int = 0) -> httpx.Response:
    """Send a part."""
    headers = {"Upload-Offset": str(offset)}
    return client.put(f"/v1/uploads/{upload['id']}/files/{path}", content=content, headers=headers)


def sent(client: httpx.Client, files: Mapping[str, bytes], name: str = "mine") -> httpx.Response:
    """All of an upload; the answer to its end."""
    upload = begun(client, files, name)
    for file in upload["files"]:
        have = file["received_bytes"]
        answer = put(client, upload, file["path"], files[file["path"]][have:], have)
        assert answer.status_code == 204, answer.text
    return client.post(f"/v1/uploads/{upload['id']}/complete")


def zipped(files: Mapping[str, bytes]) -> bytes:
    """As a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return packed.getvalue()


def tarred(files: Mapping[str, bytes], *others: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    """As a tar, with other members after them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in others:
            archive.addfile(member)
    return packed.getvalue()
