"""Model repositories of the Hugging Face hub: "hf:owner/name[@revision]" -> a folder in huggingface_hub's own cache.

The cache is shared with every other program that uses it, so a model that is there already is not fetched again, and a
cache prepared elsewhere works without a network (HF_HUB_OFFLINE=1 skips even the attempt).
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from zoo.errors import CheckpointError

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
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
]
_SAFETENSORS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
_PICKLED = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]
_CTRANSLATE2 = ["model.bin"]
_OWN = ["config.yaml"]


def is_hub(source: str | Path) -> bool:
    """Whether `source` names a hub repository rather than a path."""
    return isinstance(source, str) and source.startswith(PREFIX)


def parse(source: str) -> tuple[str, str]:
    """ "hf:owner/name@revision" -> ("owner/name", "revision"); the revision is "main" unless given.

    Raises CheckpointError for anything else.
    """
    repo, _, revision = source.removeprefix(PREFIX).partition("@")
    owner, slash, name = repo.partition("/")
    if not (is_hub(source) and owner and slash and name) or "/" in name:
        raise CheckpointError(f"{source!r} is not of the form hf:owner/name or hf:owner/name@revision")
    return repo, revision or "main"


def fetch(source: str) -> Path:
    """Folder with the configuration and the weights of "hf:owner/name[@revision]", downloaded unless cached.

    Only what is read later is fetched: descriptions, safetensors, and pickled weights where there are no others.
    Raises CheckpointError which says what was tried and what can be done: no such repository, no access, no network.
    """
    from huggingface_hub import HfApi, snapshot_download

    repo, revision = parse(source)
    failure: Exception | None = None
    try:
        # Asked first, because only this call has a time limit; without an answer the cache is all there is.
        HfApi().model_info(repo, revision=revision, timeout=REPLY_SECONDS)
    except Exception as error:  # the client's own, requests' (huggingface_hub < 1) or httpx's: all mean the same here
        failure = error
    for weights in (_SAFETENSORS, _PICKLED, _CTRANSLATE2):
        try:
            folder = Path(
                snapshot_download(
                    repo,
                    revision=revision,
                    allow_patterns=[*_OWN, *_DESCRIPTION, *weights],
                    local_files_only=failure is not None,
                )
            )
        except Exception as error:
            _explain(source, failure or error)
        if any(match for pattern in weights for match in folder.glob(pattern)):
            return folder
    raise CheckpointError(
        f"{source}: {folder} holds neither model.safetensors nor pytorch_model.bin nor CTranslate2's model.bin; "
        + ("run once with a network to complete the cache" if failure else "the repository has no PyTorch weights")
    )


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
