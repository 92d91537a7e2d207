"""The hub: what is downloaded, what the cache suffices for, and what is said when neither is to be had."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch
from fake_hub import COMMIT, serving
from foreign_hubert import hubert, saved
from huggingface_hub import constants, file_download, utils
from safetensors.torch import load_file
from small import noise, small

import zoo
from zoo.data.manifest import Entry
from zoo.errors import CheckpointError
from zoo.importers import hub
from zoo.models.hubert.model import HuBERT
from zoo.units import fit_quantizer, layer

REPO = "someone/tiny-hubert"
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def move_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """As HF_ENDPOINT does, after huggingface_hub was imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)  # releases before 1


def forget_sessions() -> None:
    """Releases of huggingface_hub before 1 look once a process whether they are offline."""
    getattr(utils, "reset_sessions", lambda: None)()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    move_hub(monkeypatch, NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    forget_sessions()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    folder = saved(hubert("base"), tmp_path / "source", normalize=True)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "tf_model.h5").write_text("weights of another framework")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pickled(files: dict[str, bytes], tmp_path: Path) -> dict[str, bytes]:
    torch.save(load_file(tmp_path / "source" / "model.safetensors"), tmp_path / "pytorch_model.bin")
    rest = {name: data for name, data in files.items() if name != "model.safetensors"}
    return {**rest, "pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()}


def test_a_wrapped_repository_gives_the_same_numbers(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        ours = zoo.load(f"hf:{REPO}", device="cpu")
        wrapped = zoo.load(f"hf:{REPO}", device="cpu", wrap=True)
    assert type(wrapped) is not type(ours) and wrapped.name == ours.name
    assert wrapped.provenance == ours.provenance | {"layout": "transformers, wrapped"}
    clips = [noise(1.0), noise(0.4)]
    theirs = wrapped.encode(clips, 16_000, layer="all").x
    assert (ours.encode(clips, 16_000, layer="all").x - theirs).abs().max() <= 2e-5


def test_downloads_what_is_read_and_nothing_else(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    files["pytorch_model.bin"] = b"the same weights once more"
    with serving(REPO, files) as (endpoint, downloaded):
        move_hub(monkeypatch, endpoint)
        model = zoo.load(f"hf:{REPO}", device="cpu")
        assert sorted(downloaded) == ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
        zoo.load(f"hf:{REPO}@{COMMIT}", device="cpu")
        assert len(downloaded) == 4, "the second time nothing is downloaded"
    assert model.name == "tiny-hubert"
    assert model.provenance == {
        "source": f"hf:{REPO}",
        "revision": COMMIT,
        "layout": "Hugging Face",
        "license": "apache-2.0",
    }


def test_pickled_weights_where_there_are_no_others(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = zoo.load(tmp_path / "source", device="cpu").fingerprint()
    with serving(REPO, pickled(files, tmp_path)) as (endpoint, downloaded):
        move_hub(monkeypatch, endpoint)
        assert zoo.load(f"hf:{REPO}", device="cpu").fingerprint() == expected
        assert "pytorch_model.bin" in downloaded
    assert zoo.load(f"hf:{REPO}", device="cpu").fingerprint() == expected, "the hub is gone, the cache is not"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert zoo.load(f"hf:{REPO}", device="cpu").fingerprint() == expected


@pytest.mark.slow
def test_cache_serves_offline_in_a_fresh_process(
    files: dict[str, bytes], empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        expected = zoo.load(f"hf:{REPO}", device="cpu").fingerprint()
    program = f"import zoo; print(zoo.load('hf:{REPO}', device='cpu').fingerprint())"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(empty_cache), "HF_ENDPOINT": NOWHERE}
    root = Path(zoo.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=root)
    assert done.stdout.strip() == expected, done.stderr


def test_a_cache_without_files_that_are_not_needed(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another program leaves it that had fetched the whole list, but only the files of its own."""
    from huggingface_hub import snapshot_download

    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        folder = snapshot_download(REPO, allow_patterns=["config.json", "preprocessor_config.json", "*.safetensors"])
    move_hub(monkeypatch, NOWHERE)
    assert not (Path(folder) / "README.md").exists()
    expected = zoo.load(tmp_path / "source", device="cpu").fingerprint()
    assert zoo.load(f"hf:{REPO}", device="cpu").fingerprint() == expected
    assert zoo.load(f"hf:{REPO}@{COMMIT}", device="cpu").provenance["revision"] == COMMIT
    (Path(folder) / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="run once with a network to complete the cache"):
        zoo.load(f"hf:{REPO}", device="cpu")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_cache_that_cannot_be_written(
    code: int, files: dict[str, bytes], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        try:
            raise OSError(code, os.strerror(code))
        except OSError as error:
            raise RuntimeError("a worker failed") from error

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        with pytest.raises(CheckpointError) as caught:
            hub.fetch(f"hf:{REPO}")
    message = str(caught.value)
    assert f"the cache {empty_cache} cannot be written" in message and os.strerror(code) in message
    assert "HF_HOME" in message and "with a network" not in message


def test_our_own_checkpoints_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = small("hubert-base")
    assert isinstance(ours, HuBERT)
    soundfile.write(tmp_path / "a.wav", noise(1).numpy(), 16_000)
    ours.attach(fit_quantizer([Entry(tmp_path / "a.wav", 1.0, "train")], layer(ours, 1), 5))
    ours.save(tmp_path / "ours")
    files = {path.name: path.read_bytes() for path in (tmp_path / "ours").iterdir()}
    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        model = zoo.load(f"hf:{REPO}", device="cpu")
    assert isinstance(model, HuBERT) and model.fingerprint() == ours.fingerprint()
    assert torch.equal(model.units(noise(2), 16_000), ours.units(noise(2), 16_000))


def test_repository_without_weights(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    del files["model.safetensors"]
    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
            hub.fetch(f"hf:{REPO}")


@pytest.mark.parametrize(
    ("source", "reason"),
    [("hf:someone/absent", "knows no such repository"), (f"hf:{REPO}@v9", "has no revision 'v9'")],
)
def test_what_the_hub_does_not_have(
    source: str, reason: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(REPO, files) as (endpoint, _):
        move_hub(monkeypatch, endpoint)
        with pytest.raises(CheckpointError, match=reason):
            hub.fetch(source)


@pytest.mark.parametrize("offline", [False, True])
def test_no_network_and_no_cache_says_what_to_do_at_once(
    offline: bool, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    forget_sessions()
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        zoo.load("hubert-base")
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert message.startswith("hf:facebook/hubert-base-ls960: ")
    assert ("HF_HUB_OFFLINE is set" if offline else "could not be used") in message
    for part in (str(empty_cache), "HF_HUB_OFFLINE=1", "hf download facebook/hubert-base-ls960", "zoo.create"):
        assert part in message


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        move_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "REPLY_SECONDS", 0.3)
        start = time.monotonic()
        with pytest.raises(CheckpointError, match="could not be used"):
            hub.fetch(f"hf:{REPO}")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "source", ["hf:", "hf:name", "hf:a/b/c", "hf:/b", "hf:a/", "hf:a/b/@x", "hf:\0/x", "hf:a/b\n", "hf:a/b@\x1b"]
)
def test_names_that_are_none(source: str) -> None:
    with pytest.raises(CheckpointError, match="not of the form hf:owner/name"):
        zoo.load(source)


def test_name_that_the_hub_would_not_allow() -> None:
    with pytest.raises(CheckpointError, match="hf:a b/c: Repo id must use"):
        zoo.load("hf:a b/c")


def test_parse() -> None:
    assert hub.parse("hf:a/b") == ("a/b", "main")
    assert hub.parse("hf:a/b@refs/pr/1") == ("a/b", "refs/pr/1")
    assert not hub.is_hub(Path("hf:a/b"))
