"""Ray actors: the same bytes as one process; items that kill their process fail by name."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from extraction import corpus as corpus
from small import small
from small_whisper import small_whisper

from zoo import embed, transcribe
from zoo.audio import Clip
from zoo.data.manifest import Entry
from zoo.embed import job as embed_job
from zoo.embed.task import EmbedTask, load_task
from zoo.errors import ConfigError, MissingDependencyError
from zoo.jobs import on_ray
from zoo.jobs.plan import Limits
from zoo.jobs.retry import CRASHED
from zoo.jobs.survey import Planned
from zoo.models.hubert.model import HuBERT
from zoo.transcribe.task import TranscribeTask
from zoo.units import fit_quantizer, layer
from zoo.units.task import UnitsTask
from zoo.units.writing import write_units

OPTIONS = {"shard_items": 3, "batch_seconds": 1.5, "workers": 1, "progress": False}


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small("hubert-base").save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    here = Path(__file__)
    path = os.pathsep.join(map(str, (here.parent, here.parents[1] / "helpers", here.parents[2])))
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=2, runtime_env={"env_vars": environment}, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Fragile:
    """Loads the task, and kills the process that reads a file with one of these names."""

    def __init__(self, *names: str, once: Path | None = None) -> None:
        self.names, self.once = names, once

    def __call__(self, model: str, **options: object) -> EmbedTask:
        task = load_task(model, **options)  # type: ignore[arg-type]
        task.read = partial(self.read, task.read)  # type: ignore[assignment]
        return task

    def read(self, whole: object, item: Planned) -> Clip | str:
        if Path(item.path).name in self.names and not (self.once and self.once.exists()):
            if self.once:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(item)  # type: ignore[operator, no-any-return]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_actors_give_the_bytes_of_one_process(
    corpus: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if an actor is killed on the way."""
    (corpus / "bad.wav").write_text("no audio")
    embed.run(corpus, model, tmp_path / "alone", **OPTIONS)  # type: ignore[arg-type]
    summary = embed.run(corpus, model, tmp_path / "ray", engine="ray", **OPTIONS)  # type: ignore[arg-type]
    assert (summary.embedded, summary.failed) == (10, 1)
    assert digests(tmp_path / "ray") == digests(tmp_path / "alone")
    monkeypatch.setattr(embed_job, "load_task", Fragile("4.wav", once=tmp_path / "died"))
    embed.run(corpus, model, tmp_path / "killed", engine="ray", **OPTIONS)  # type: ignore[arg-type]
    assert (tmp_path / "died").exists()
    assert digests(tmp_path / "killed") == digests(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_units_and_transcripts_have_the_same_bytes_too(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "bad.wav").write_text("no audio")
    monkeypatch.setattr(UnitsTask, "limits", Limits(3, 900.0, 1.5))
    monkeypatch.setattr(TranscribeTask, "limits", Limits(3, 600.0))
    hubert = small("hubert-base")
    assert isinstance(hubert, HuBERT)
    hubert.attach(fit_quantizer([Entry(corpus / "a" / "1.wav", 1.0, "train")], layer(hubert, 2), 6))
    hubert.save(tmp_path / "hubert")
    small_whisper().save(tmp_path / "whisper")
    options = {"vad": "none", "temperature": 0.0, "language": "en"}
    for engine in ("local", "ray"):
        out = tmp_path / engine
        units = write_units(corpus, tmp_path / "hubert", out / "u.jsonl", engine=engine, progress=False)
        assert units == (10, 1)
        summary = transcribe.run(corpus, tmp_path / "whisper", out / "texts", engine=engine, progress=False, **options)
        assert (summary.written, summary.failed) == (10, 1)
        assert not list(out.rglob("*.job"))
    assert (tmp_path / "ray" / "u.jsonl").read_bytes() == (tmp_path / "local" / "u.jsonl").read_bytes()
    texts = [digests(tmp_path / engine / "texts") for engine in ("local", "ray")]
    assert texts[0] == texts[1] and len(texts[0]) == 2 * 10 + 2


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_an_item_that_kills_its_process_fails_by_name_and_the_others_do_not(
    corpus: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(embed_job, "load_task", Fragile("1.wav", "8.wav"))
        summary = embed.run(corpus, model, out, engine="ray", **OPTIONS)  # type: ignore[arg-type]
    assert (summary.embedded, summary.failed) == (8, 2)
    errors = [json.loads(line) for line in (out / "_errors.jsonl").read_text().splitlines()]
    assert [(Path(error["path"]).name, error["reason"]) for error in errors] == [
        ("1.wav", CRASHED),
        ("8.wav", CRASHED),
    ]
    before = digests(out)
    assert embed.run(corpus, model, out, **OPTIONS).failed == 2  # type: ignore[arg-type]
    assert digests(out) == before, "a local run does not try them"
    (corpus / "a" / "1.wav").touch()
    assert embed.run(corpus, model, out, **OPTIONS).failed == 1  # type: ignore[arg-type]


def test_what_ray_cannot_do_is_an_error(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, word in (
        ({"engine": "spark"}, "engine 'spark' is unknown"),
        ({"engine": "ray"}, "a model that every process can load"),
        ({"address": "auto"}, "only engine ray has an address"),
    ):
        with pytest.raises(ConfigError, match=word):
            embed.run(corpus, small("mfcc"), tmp_path / "out", progress=False, **options)  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'audiozoo\[ray\]'"):
        on_ray.RayRun(lambda: None)  # type: ignore[arg-type, return-value]
    assert not (tmp_path / "out").exists()
