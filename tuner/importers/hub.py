"""Bring a hub model's files into the local Hugging Face cache, without ever hanging on a network that is not there."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi, ModelInfo, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from tuner.errors import ModelUnknown, ModelUnreachable, StorageFull, TunerError
from tuner.importers.copies import NO_SPACE, Room, too_large
from tuner.importers.folder import PICKLE_FILES, PICKLES, SAFE_FILES, SAFETENSORS, SAFETENSORS_INDEX, pickle_refused
from tuner.importers.foreign import refuse_foreign_among
from tuner.importers.model_file import graph_among

log = logging.getLogger(__name__)

PROBE_TIMEOUT_SEC = float(constants.HF_HUB_ETAG_TIMEOUT)  # ten seconds, unless its variable says otherwise
_CHUNK_BYTES = 256 * 1024  # the library reads 10 MiB before it tells of any progress, which may take minutes


def download(
    hub_id: str,
    revision: str = "",
    allow_pickle: bool = False,
    room: Room | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The local folder with a hub model's files, named by their commit; downloaded now or found in the cache. Honours
    ``HF_HUB_OFFLINE``.

    ``progress`` is told how many bytes are here of how many. Raises ``ModelUnknown`` when the hub says there is no such
    model or revision (or it is private), ``ModelInvalid`` when it has only pickles or is too large, ``StorageFull``
    before anything is downloaded, and ``ModelUnreachable`` when the hub can't be asked and the cache has nothing:
    within about ``PROBE_TIMEOUT_SEC`` when there is no network.
    """
    room = room or Room()
    try:
        info = _ask(hub_id, revision)
        if info and not allow_pickle and _has_only_pickles(info):
            raise pickle_refused(hub_id)
        if info and not _has_weights(info):
            refuse_foreign_among(PurePosixPath(hub_id), _files(info))
        patterns = [*SAFE_FILES, *(PICKLE_FILES if allow_pickle else ()), *(_graph_files(info) if info else ())]
        wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": patterns}
        if info is None:
            return Path(snapshot_download(hub_id, local_files_only=True, **wanted))
        plan = snapshot_download(hub_id, dry_run=True, tqdm_class=_meter(lambda *_: None), **wanted)
        total = sum(file.file_size or 0 for file in plan if file.will_download)
        room.check_size(hub_id, sum(file.file_size or 0 for file in plan))
        room.check_free(Path(constants.HF_HUB_CACHE), total)
        constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
        tell = (lambda done: progress(min(done, total), total)) if progress else (lambda _: None)
        return Path(snapshot_download(hub_id, tqdm_class=_meter(tell), **wanted))
    except TunerError:
        raise
    except GatedRepoError as error:
        raise ModelUnreachable(f"{hub_id} is gated on the hub.", "Accept its terms, then run: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise ModelUnknown(
            f"The hub has no model {hub_id}, or it is private.", "Check the spelling, or run: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelUnknown(
            f"The hub's {hub_id} has no revision {revision!r}.", "Give a branch, a tag or a commit after the @."
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelUnreachable(
            f"The hub can't be reached and {hub_id} is not in the local cache.",
            "Connect to the network, or give a local folder that holds config.json and model.safetensors.",
        ) from error
    except Exception as error:  # the network can break in many ways, each with a class of its own
        if isinstance(error, OSError) and error.errno == errno.EFBIG and room.most_bytes is not None:
            raise too_large(hub_id, room.most_bytes) from error
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise StorageFull(
                f"No space is left for {hub_id} in {constants.HF_HUB_CACHE}.", "Free some, or set HF_HOME elsewhere."
            ) from error
        raise ModelUnreachable(
            f"Downloading {hub_id} from the hub failed: {error}.",
            "Try again, or give a local folder that holds config.json and model.safetensors.",
        ) from error


def _meter(tell: Callable[[int], None]) -> type[tqdm]:
    """What the library takes for its progress bars; it tells how many bytes have come, of all files together."""
    counted = threading.Lock()
    bars: dict[int, float] = {}

    class Meter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._of_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            """Of the two bars, of bytes that came and bytes that were put together, the one that is further tells."""
            if self._of_bytes and n:
                with counted:
                    bars[id(self)] = bars.get(id(self), 0.0) + n
                    tell(int(max(bars.values())))

    return Meter


def _has_only_pickles(info: ModelInfo) -> bool:
    files = _files(info)
    return any(name in files for name in PICKLES) and not any(name.endswith(".safetensors") for name in files)


def _has_weights(info: ModelInfo) -> bool:
    files = _files(info)
    return bool(graph_among(files)) or any(name.endswith(".safetensors") or name in PICKLES for name in files)


def _graph_files(info: ModelInfo) -> list[str]:
    """The graph of a model without other weights, the files of its own, and what else lies beside it."""
    files = _files(info)
    file = graph_among(files)
    if file is None or {SAFETENSORS, SAFETENSORS_INDEX, *PICKLES} & set(files):
        return []
    folder = file.rpartition("/")[0]
    return [f"{file}*", *(f"{folder}/{pattern}" for pattern in SAFE_FILES if folder)]


def _files(info: ModelInfo) -> list[str]:
    return [sibling.rfilename for sibling in info.siblings or ()]


def _ask(hub_id: str, revision: str) -> ModelInfo | None:
    """What the hub says about a model, or ``None`` when it does not answer in time.

    Asked in a daemon thread: looking up a host name takes no time-out, and without a network it can block for long.
    """
    if constants.is_offline_mode():
        return None
    answers: list[ModelInfo | Exception] = []

    def ask() -> None:
        try:
            answers.append(HfApi().model_info(hub_id, revision=revision or None, timeout=PROBE_TIMEOUT_SEC))
        except Exception as error:  # judged by the thread that waits
            answers.append(error)

    thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_SEC + 1.0)
    answer = answers[0] if answers else TimeoutError()
    if isinstance(answer, RepositoryNotFoundError | RevisionNotFoundError):  # gated ones too
        raise answer
    if isinstance(answer, Exception):
        log.warning("the hub does not answer for %s (%s); looking in the local cache", hub_id, type(answer).__name__)
        return None
    return answer
