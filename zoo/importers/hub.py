"""Model repositories of the Hugging Face hub: "hf:owner/name[@revision]" -> a folder in huggingface_hub's own cache.

The cache is shared with every other program that uses it, so a model that is there already is not fetched again, and a
cache prepared elsewhere works without a network (HF_HUB_OFFLINE=1 skips even the attempt).
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

from zoo.errors import CheckpointError
from zoo.io.text import shorten

PREFIX = "hf:"
REPLY_SECONDS = 10.0  # a silent proxy may take this long; huggingface_hub alone would wait for ever

_DESCRIPTION = [
    "README.md",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "generation_config.json",
    "added_tokens.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocabulary.json",
    "vocabulary.txt",
    "quantizer.safetensors",
]
_SAFETENSORS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
_PICKLED = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]
_CTRANSLATE2 = ["model.bin"]
_OWN = ["config.yaml"]
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def is_hub(source: str | Path) -> bool:
    """Whether `source` names a hub repository rather than a path."""
    return isinstance(source, str) and source.startswith(PREFIX)


def parse(source: str) -> tuple[str, str]:
    """ "hf:owner/name@revision" -> ("owner/name", "revision"); the revision is "main" unless given.

    Raises CheckpointError for anything else.
    """
    repo, _, revision = source.removeprefix(PREFIX).partition("@")
    owner, slash, name = repo.partition("/")
    named = owner and slash and name and "/" not in name
    if not is_hub(source) or not named or not source.isprintable():
        raise CheckpointError(f"{shorten(source)} is not of the form hf:owner/name or hf:owner/name@revision")
    return repo, revision or "main"


def fetch(source: str) -> Path:
    """Folder with the configuration and the weights of "hf:owner/name[@revision]", downloaded unless cached.

    Only what is read later is fetched: descriptions, safetensors, and pickled weights where there are no others.
    Raises CheckpointError which says what was tried and what can be done: no such repository, no access, no network.
    """
    from huggingface_hub import HfApi, snapshot_download

    repo, revision = parse(source)
    failure: Exception | None = None
    folder: Path | None = None
    try:
        # Asked first, because only this call has a time limit; without an answer the cache is all there is.
        HfApi().model_info(repo, revision=revision, timeout=REPLY_SECONDS)
    except Exception as error:  # the client's own, requests' (huggingface_hub < 1) or httpx's: all mean the same here
        failure, folder = error, _cached(repo, revision)
        if folder is None:
            _explain(source, error)
    for weights in (_SAFETENSORS, _PICKLED, _CTRANSLATE2):
        if failure is None:
            patterns = [*_OWN, *_DESCRIPTION, *weights]
            try:
                folder = Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
            except Exception as error:
                _check_writable(source, error)
                _explain(source, error)
        if folder is not None and any(match for pattern in weights for match in folder.glob(pattern)):
            return folder
    raise CheckpointError(
        f"{source}: {folder} holds neither model.safetensors nor pytorch_model.bin nor CTranslate2's model.bin; "
        + ("run once with a network to complete the cache" if failure else "the repository has no PyTorch weights")
    )


def _cached(repo: str, revision: str) -> Path | None:
    """The folder of a repository in the cache, if a description is in it.

    Not asked of snapshot_download, to which a folder is incomplete as soon as any file of the repository is missing.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(repo, name, revision=revision) for name in ("config.json", *_OWN)]
    except HFValidationError:
        return None
    return next((Path(path).parent for path in found if isinstance(path, str)), None)


def fetch_file(repo: str, name: str) -> Path | None:
    """One file of "owner/name", from the cache or else from the network; None when neither has it."""
    from huggingface_hub import HfApi, hf_hub_download

    try:
        return Path(hf_hub_download(repo, name, local_files_only=True))
    except Exception:  # not cached
        pass
    try:
        HfApi().model_info(repo, timeout=REPLY_SECONDS)
        return Path(hf_hub_download(repo, name))
    except Exception:  # no network, no such repository
        return None


def _explain(source: str, error: Exception) -> NoReturn:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, revision = parse(source)
    definite = {
        HFValidationError: str(error),
        GatedRepoError: f"access must be granted on {constants.ENDPOINT}/{repo} first; then `hf auth login`",
        RepositoryNotFoundError: f"{constants.ENDPOINT} knows no such repository, or it is private (`hf auth login`)",
        RevisionNotFoundError: f"the repository has no revision {revision!r}",
    }
    for kind, reason in definite.items():
        if isinstance(error, kind):
            raise CheckpointError(f"{source}: {reason}") from error
    if isinstance(error, OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set"
    else:
        first_line = next(iter(str(error).splitlines()), "")
        reason = f"{constants.ENDPOINT} could not be used ({type(error).__name__}: {first_line})"
    raise CheckpointError(
        f"{source}: {reason}, and the cache {constants.HF_HUB_CACHE} does not hold it. What you can do: load it once "
        f"with a network, after which the cache is enough (HF_HUB_OFFLINE=1 then skips the network; HF_HOME moves the "
        f"cache); or run `hf download {repo} --local-dir DIR` elsewhere and pass DIR instead of the name; "
        f"or use zoo.create(name) for the same architecture with untrained weights."
    ) from error


def _check_writable(source: str, error: Exception) -> None:
    """Raises CheckpointError if a download failed because the file system has no space, or gives no right to write."""
    from huggingface_hub import constants

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _UNWRITABLE:
            raise CheckpointError(
                f"{source}: the cache {constants.HF_HUB_CACHE} cannot be written ({cause}). What you can do: make room "
                f"or get the right to write there; or set HF_HOME to another folder, which moves the cache."
            ) from error
        cause = cause.__cause__ or cause.__context__
