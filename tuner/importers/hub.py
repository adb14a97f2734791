"""Bring a hub model's files into the local Hugging Face cache, without ever hanging on a network that is not there."""

from __future__ import annotations

import errno
import logging
import threading
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from tuner.errors import ModelUnknown, ModelUnreachable, StorageFull, TunerError
from tuner.importers.folder import PICKLES, SAFETENSORS, pickle_refused
from tuner.importers.source import ModelSource

log = logging.getLogger(__name__)

PROBE_TIMEOUT_SEC = 5.0
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.*", "merges.txt")
_SAFE_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json", *_TOKENIZER_FILES)
_PICKLE_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


def lacks_weights(source: ModelSource) -> bool:
    """Is this a preset whose trained weights are not on this machine? Anything else can't be loaded without them."""
    if source.source != "preset" or source.folder:
        return False
    return not isinstance(try_to_load_from_cache(source.location, SAFETENSORS, constants.HF_HUB_CACHE), str)


def fetch_weights(source: ModelSource) -> None:
    """Bring a preset's trained weights here if they are not and the hub can be reached; the one time it is asked.

    Raises what ``download`` raises, but for ``ModelUnreachable``, which is logged.
    """
    if lacks_weights(source):
        try:
            download(source.location, source.allow_pickle)
        except ModelUnreachable as error:
            log.warning(error.message)


def download(hub_id: str, allow_pickle: bool = False) -> Path:
    """The local folder with a hub model's files, downloaded now or found in the cache; honours ``HF_HUB_OFFLINE``.

    Raises ``ModelUnknown`` when the hub says there is no such model (or it is private), ``ModelInvalid`` when it has
    only pickles, ``StorageFull``, and ``ModelUnreachable`` when the hub can't be asked and the cache has nothing:
    within about ``PROBE_TIMEOUT_SEC`` when there is no network.
    """
    patterns = [*_SAFE_FILES, *(_PICKLE_FILES if allow_pickle else ())]
    try:
        info = _ask(hub_id)
        if info and not allow_pickle and _has_only_pickles(info):
            raise pickle_refused(hub_id)
        return Path(snapshot_download(hub_id, local_files_only=info is None, allow_patterns=patterns))
    except TunerError:
        raise
    except GatedRepoError as error:
        raise ModelUnreachable(f"{hub_id} is gated on the hub.", "Accept its terms, then run: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise ModelUnknown(
            f"The hub has no model {hub_id}, or it is private.", "Check the spelling, or run: hf auth login"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelUnreachable(
            f"The hub can't be reached and {hub_id} is not in the local cache.",
            "Connect to the network, or give a local folder that holds config.json and model.safetensors.",
        ) from error
    except Exception as error:  # the network can break in many ways, each with a class of its own
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise StorageFull(
                f"No space is left for {hub_id} in {constants.HF_HUB_CACHE}.", "Free some, or set HF_HOME elsewhere."
            ) from error
        raise ModelUnreachable(
            f"Downloading {hub_id} from the hub failed: {error}.",
            "Try again, or give a local folder that holds config.json and model.safetensors.",
        ) from error


def _has_only_pickles(info: ModelInfo) -> bool:
    files = [sibling.rfilename for sibling in info.siblings or ()]
    return any(name in files for name in PICKLES) and not any(name.endswith(".safetensors") for name in files)


def _ask(hub_id: str) -> ModelInfo | None:
    """What the hub says about a model, or ``None`` when it does not answer in time.

    Asked in a daemon thread: looking up a host name takes no time-out, and without a network it can block for long.
    """
    if constants.is_offline_mode():
        return None
    answers: list[ModelInfo | Exception] = []

    def ask() -> None:
        try:
            answers.append(HfApi().model_info(hub_id, timeout=PROBE_TIMEOUT_SEC))
        except Exception as error:  # judged by the thread that waits
            answers.append(error)

    thread = threading.Thread(target=ask, name="hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_SEC + 1.0)
    answer = answers[0] if answers else TimeoutError()
    if isinstance(answer, RepositoryNotFoundError):  # gated ones too
        raise answer
    if isinstance(answer, Exception):
        log.warning("the hub does not answer for %s (%s); looking in the local cache", hub_id, type(answer).__name__)
        return None
    return answer
