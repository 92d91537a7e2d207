"""The embedded corpora as a whole: deterministic, complete, honest about what they hold."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("espeakng_loader")
pytest.importorskip("midirenderer")

from zoo import corpora
from zoo.corpora import builder, music, parts, speakers, speech
from zoo.data import manifest
from zoo.data.inventory import describe
from zoo.errors import MissingDependencyError, ZooError

BUILD = "import sys; from zoo import corpora; corpora.build('speech', 'tiny', sys.argv[1], workers=1, progress=False)"


@pytest.fixture(scope="session")
def speech_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.build("speech", "tiny", tmp_path_factory.mktemp("speech"), workers=1, progress=False)


@pytest.fixture(scope="session")
def music_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.build("music", "tiny", tmp_path_factory.mktemp("music"), workers=2, progress=False)


@pytest.fixture(params=["speech", "music"])
def built(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_manifest")


def about(path: Path) -> dict:
    return json.loads((path.parent / "corpus.json").read_text())


def test_corpus_is_complete_and_says_so(built: Path) -> None:
    facts = about(built)
    entries = manifest.read(built)
    files = [path for path in (built.parent / "clips").rglob("*") if path.is_file()]
    assert {entry.audio for entry in entries} == set(files)
    assert sum(facts["clips"].values()) == len(entries)
    assert all(facts["clips"][split] > 0 for split in manifest.SPLITS)
    assert 150 < sum(entry.duration for entry in entries) < 300
    assert set(facts["packages"]) > {"numpy", "scipy"}
    assert sorted(path.name for path in built.parent.iterdir()) == [".lock", "clips", "corpus.json", "manifest.jsonl"]


def test_fingerprint_is_of_the_samples(built: Path, tmp_path: Path) -> None:
    assert corpora.fingerprint(built) == about(built)["fingerprint"]
    copy = tmp_path / "copy"
    shutil.copytree(built.parent, copy)
    assert corpora.fingerprint(copy / "manifest.jsonl") == about(built)["fingerprint"]
    victim = manifest.read(copy / "manifest.jsonl")[3].audio
    wave, rate = soundfile.read(victim, dtype="int16")
    soundfile.write(victim, wave, rate, format="FLAC", compression_level=0.9)
    assert corpora.fingerprint(copy / "manifest.jsonl") == about(built)["fingerprint"]
    wave[100] ^= 1
    soundfile.write(victim, wave, rate, format="FLAC")
    assert corpora.fingerprint(copy / "manifest.jsonl") != about(built)["fingerprint"]


def test_audio_is_neither_silent_nor_clipped(built: Path) -> None:
    for entry in manifest.read(built):
        wave, rate = soundfile.read(entry.audio)
        assert rate == (16000 if entry.speaker else 24000)
        assert len(wave) / rate == pytest.approx(entry.duration)
        assert 0.02 < np.abs(wave).max() < 0.99
        assert -40 < 20 * np.log10(np.sqrt(np.mean(wave**2))) < -10


@pytest.mark.slow
def test_number_of_workers_leaves_no_trace(speech_manifest: Path, music_manifest: Path, tmp_path: Path) -> None:
    parallel = corpora.build("speech", "tiny", tmp_path / "speech", workers=2, progress=False)
    assert about(parallel)["fingerprint"] == about(speech_manifest)["fingerprint"]
    for entry in manifest.read(music_manifest)[:2]:  # built by two processes; made again here
        index, number = map(int, entry.audio.stem.split("-"))
        clip = music.make("tiny", 0, entry.split, index)[number]
        assert np.array_equal(soundfile.read(entry.audio, dtype="int16")[0], clip.wave)
        assert clip.captions == entry.captions


def test_order_leaves_no_trace(speech_manifest: Path) -> None:
    entries = [entry for entry in manifest.read(speech_manifest) if entry.split == "train"]
    for index in (40, 3, 17, 0):
        (clip,) = speech.make("tiny", 0, "train", index)
        assert np.array_equal(soundfile.read(entries[index].audio, dtype="int16")[0], clip.wave)
        assert clip.phones == entries[index].phones


@pytest.mark.parametrize("corpus", [speech, music])
def test_another_seed_is_another_corpus(corpus: type) -> None:
    one, other = corpus.make("tiny", 0, "test", 0)[0], corpus.make("tiny", 1, "test", 0)[0]
    assert len(one.wave) != len(other.wave) or not np.array_equal(one.wave, other.wave)


@pytest.mark.slow
def test_killed_build_resumes_to_the_same_bytes(speech_manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(folder)])
    deadline = time.monotonic() + 60
    while not (records := list((folder / ".parts").glob("*.jsonl"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert records
    assert not (folder / "corpus.json").exists()
    kept = folder / "clips" / "train" / "000000.flac"
    before = kept.stat().st_mtime_ns
    path = corpora.build("speech", "tiny", folder, workers=1, progress=False)
    assert kept.stat().st_mtime_ns == before  # a finished part is not made again
    assert about(path) == about(speech_manifest)
    assert path.read_bytes() == speech_manifest.read_bytes()
    assert corpora.fingerprint(path) == about(path)["fingerprint"]


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    """Spawned workers import it again; they must not wait for the lock that their parent holds."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom zoo import corpora\ncorpora.build('music', 'tiny', sys.argv[1], workers=2, progress=False)"
    )
    done = subprocess.run([sys.executable, script, tmp_path / "corpus"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr


def test_part_with_damaged_clips_is_made_again(tmp_path: Path) -> None:
    part = parts.CorpusPart("speech", "tiny", 0, "dev", 0, 3)
    (tmp_path / ".parts").mkdir()
    assert parts.finished_clips(tmp_path, part) is None
    parts.make(tmp_path, part)
    rows = parts.finished_clips(tmp_path, part)
    assert rows is not None and len(rows) == 3
    victim = tmp_path / "clips" / "dev" / rows[1].file
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    assert parts.finished_clips(tmp_path, part) is None
    parts.make(tmp_path, part)
    assert victim.read_bytes() == content
    victim.unlink()
    assert parts.finished_clips(tmp_path, part) is None


def test_complete_corpus_is_found_at_once(speech_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "corpus_module", lambda kind: pytest.fail("nothing is to be made"))
    assert corpora.build("speech", "tiny", speech_manifest.parent) == speech_manifest


def test_folders_of_others_are_left_alone(speech_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"another corpus.*seed 0"):
        corpora.build("speech", "tiny", speech_manifest.parent, seed=1, progress=False)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ZooError, match=r"thesis\.txt"):
        corpora.build("speech", "tiny", tmp_path, progress=False)
    with pytest.raises(ZooError, match="tiny, small, large"):
        corpora.build("speech", "huge", tmp_path)


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert corpora.default_folder("music", "small") == tmp_path / "corpora" / "music-small-v1"
    assert corpora.default_folder("music", "small", 3).name == "music-small-v1-seed3"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'audiozoo\[corpora\]'"):
        corpora.build("speech", "tiny", tmp_path / "speech")
    monkeypatch.setattr("zoo.corpora.render.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"midirenderer.*pip install 'audiozoo\[corpora\]'"):
        corpora.build("music", "tiny", tmp_path / "music")
    assert not list(tmp_path.iterdir())


def test_describe(speech_manifest: Path, music_manifest: Path) -> None:
    facts = json.loads(json.dumps(describe(speech_manifest)))
    assert facts["fingerprint"] == about(speech_manifest)["fingerprint"]
    assert facts["clips"] == sum(split["clips"] for split in facts["splits"].values()) == facts["with_text"]
    assert set(facts["languages"]) == set(speakers.LANGUAGES)
    assert sum(facts["labels"]["style"].values()) == facts["clips"]
    assert isinstance(facts["phones"], int | dict)
    facts = describe(music_manifest)
    assert facts["with_captions"] == facts["clips"]
    assert set(facts["labels"]["drums"]) <= {"true", "false"}
