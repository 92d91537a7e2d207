"""CTC decoding against the sum over all paths, and transcripts of recordings."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import os
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL, noise
from torch import Tensor

import zoo
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.models.ctc import Alphabet, NGram, align, beam_search, characters, collapse, greedy, words
from zoo.models.ctc.beam import Fusion
from zoo.models.ctc.transcription import MAX_SEGMENT, segments
from zoo.text.transcript import Transcript

ABC = Alphabet(("<blank>", "|", "a", "b"))
ARPA = """
\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0\t<s>\t-0.5
-0.9\t</s>
-2.0\t<unk>
-0.6\ta\t-0.2
-0.8\tab\t-0.4

\\2-grams:
-0.1\t<s> ab
-0.3\tab a
-1.5\ta </s>

\\end\\
"""


def labelings(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """log_probs (T, V) -> log p of every sequence of labels, summed over all V ** T paths."""
    total: dict[tuple[int, ...], float] = {}
    size, count = log_probs.shape
    rows = log_probs.double().tolist()
    for path in itertools.product(range(count), repeat=size):
        labels = tuple(collapse(torch.tensor([path]))[0])
        total[labels] = total.get(labels, 0.0) + math.exp(sum(row[v] for row, v in zip(rows, path, strict=True)))
    return {labels: math.log(value) for labels, value in total.items()}


def lm_score(lm: NGram, text: str, weight: float, word_score: float) -> float:
    context, score = lm.start, 0.0
    for word in text.split():
        log_prob, context = lm.score(context, word)
        score += weight * log_prob + word_score
    return score + weight * lm.score(context, "</s>")[0]


def random_scores(seed: int, size: int, count: int = 4, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(batch, size, count, generator=generator)).log_softmax(-1)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> NGram:
    path = tmp_path_factory.mktemp("lm") / "small.arpa"
    path.write_text(ARPA)
    return NGram.read(path)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_a_wide_beam_finds_the_likeliest_labels(seed: int, size: int) -> None:
    log_probs = random_scores(seed, size)
    truth = labelings(log_probs[0])
    (found,) = beam_search(log_probs, torch.tensor([size]), width=200, alphabet=ABC)
    assert truth[tuple(found)] == pytest.approx(max(truth.values()), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 5))
def test_a_wide_beam_with_a_language_model_finds_the_best_sum(lm: NGram, seed: int, size: int) -> None:
    log_probs = random_scores(seed, size)
    weight, word_score = 0.8, 0.3
    truth = {
        labels: log_prob + lm_score(lm, ABC.decode(labels), weight, word_score)
        for labels, log_prob in labelings(log_probs[0]).items()
    }
    fusion = Fusion(lm, ABC, weight, word_score)
    (found,) = beam_search(log_probs, torch.tensor([size]), width=300, alphabet=ABC, fusion=fusion)
    assert truth[tuple(found)] == pytest.approx(max(truth.values()), abs=1e-4)


def test_a_beam_beats_the_likeliest_path() -> None:
    """Hannun et al., figure 2: "a" in one frame or the other is likelier than no "a" at all."""
    frame = torch.tensor([0.6, 1e-6, 0.4, 1e-6]).log()
    log_probs = torch.stack([frame, frame])[None]
    assert collapse(greedy(log_probs, torch.tensor([2]))) == [[]]
    assert beam_search(log_probs, torch.tensor([2]), width=4, alphabet=ABC) == [[2]]


def test_clips_of_a_batch_do_not_affect_each_other(lm: NGram) -> None:
    log_probs, lengths = random_scores(3, 40, batch=3), torch.tensor([40, 17, 29])
    for fusion in (None, Fusion(lm, ABC, 1.0, 0.5)):
        together = beam_search(log_probs, lengths, width=8, alphabet=ABC, fusion=fusion)
        for b, n in enumerate(lengths.tolist()):
            alone = beam_search(log_probs[b : b + 1, :n], torch.tensor([n]), width=8, alphabet=ABC, fusion=fusion)
            assert alone == [together[b]]


def test_few_symbols_of_many_are_tried() -> None:
    alphabet = Alphabet(["<blank>", *map(chr, range(0x4E00, 0x4E00 + 300))])
    log_probs = random_scores(1, 12, len(alphabet))
    (found,) = beam_search(3 * log_probs, torch.tensor([12]), width=10, alphabet=alphabet)
    assert found == collapse(greedy(log_probs, torch.tensor([12])))[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 1000))
def test_a_path_and_its_characters_agree(path: list[int], seed: int) -> None:
    log_probs = random_scores(seed, len(path))[0]
    found = characters(torch.tensor(path), log_probs)
    labels = collapse(torch.tensor([path]))[0]
    assert [c.symbol for c in found] == labels
    assert all(path[t] == c.symbol for c in found for t in range(c.start, c.stop))
    aligned = align(log_probs, labels)
    assert collapse(aligned[None]) == [labels]
    chosen = [float(log_probs.gather(1, p[:, None]).sum()) for p in (aligned, torch.tensor(path))]
    assert chosen[0] >= chosen[1] - 1e-5, "the alignment is the likeliest path of these labels"


def test_word_times_are_those_of_their_characters() -> None:
    log_probs = torch.full((10, 4), -9.0)
    for t, symbol in enumerate([0, 2, 2, 0, 3, 1, 0, 3, 3, 0]):
        log_probs[t, symbol] = -0.1
    path = greedy(log_probs[None], torch.tensor([10]))[0]
    found = words(characters(path, log_probs), ABC, 50.0, 0.01)
    assert [(w.text, round(w.start, 3), round(w.end, 3)) for w in found] == [(" ab", 0.03, 0.11), (" b", 0.15, 0.19)]
    assert found[0].probability == pytest.approx(math.exp(-0.1))


def test_the_alphabet_of_transcripts() -> None:
    alphabet = Alphabet.of(["to be", "or not"])
    assert alphabet.symbols == ("<blank>", "|", *"benort")
    assert alphabet.decode(alphabet.encode(" to  be?")) == "to be"
    assert alphabet.encode("?? b ?? e") == [2, 1, 3], "words without a known character are left out"
    with pytest.raises(ConfigError, match="separates words"):
        Alphabet.of(["a|b"])
    with pytest.raises(ConfigError, match="no characters"):
        Alphabet.of([" "])
    published = Alphabet(("<pad>", "<s>", "</s>", "<unk>", "|", "E", "T"))
    assert published.decode([1, 6, 5, 4, 3, 4, 6]) == "TE T"


def test_back_off(lm: NGram) -> None:
    log10 = math.log(10)
    assert lm.order == 2 and lm.words == {"a", "ab"}
    assert lm.score(("<s>",), "ab") == (pytest.approx(-0.1 * log10), ("ab",))
    assert lm.score(("ab",), "ab")[0] == pytest.approx((-0.4 - 0.8) * log10)
    assert lm.score(("<s>",), "zebra") == (pytest.approx((-0.5 - 2.0) * log10), ("<unk>",))


def test_files_that_are_no_language_model(tmp_path: Path) -> None:
    zipped = tmp_path / "small.arpa.gz"
    zipped.write_bytes(gzip.compress(ARPA.encode()))
    assert NGram.read(zipped).order == 2
    wrong = tmp_path / "wrong.arpa"
    wrong.write_text(ARPA.replace("-0.6\ta\t-0.2", "minus\ta"))
    with pytest.raises(ConfigError, match=r"wrong\.arpa:10: not a 1-gram"):
        NGram.read(wrong)
    wrong.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0")
    with pytest.raises(ConfigError, match="no n-grams"):
        NGram.read(wrong)
    with pytest.raises(ConfigError, match="cannot be read"):
        NGram.read(tmp_path / "none.arpa")
    damaged = bytearray(zipped.read_bytes())
    damaged[10:50] = b"\xff" * 40  # no block of deflate begins so
    zipped.write_bytes(damaged)
    with pytest.raises(ConfigError, match=r"small.arpa.gz: cannot be read"):
        NGram.read(zipped)


def path_scores(path: list[int]) -> Tensor:
    scores = torch.full((len(path), len(ABC)), -8.0)
    scores[torch.arange(len(path)), torch.tensor(path)] = -0.01
    return scores


def test_segments_end_at_pauses() -> None:
    pause, silence = [0] * 10 + [1] + [0] * 20, [0] * 110
    path = [2, 0] * 10 + pause + [2, 0, 1, 3] + [0] * 30 + [2] + silence + [3, 3]
    spans = segments(path_scores(path), ABC, 50.0)
    assert [span.start for span in spans] == [0, 20 + 15, 20 + 31 + 4 + 30 + 1 + 55]
    assert [s.stop for s in spans[:-1]] == [s.start for s in spans[1:]] and spans[-1].stop == len(path)


def test_endless_speech_is_cut_between_words() -> None:
    rate = 50.0
    path = ([2, 0, 3, 1] * 9 + [2, 0, 3, 1, 0, 0, 0, 0]) * 100
    spans = segments(path_scores(path), ABC, rate)
    assert max(s.stop - s.start for s in spans) <= MAX_SEGMENT * rate
    assert "".join("|" + ABC.decode(collapse(torch.tensor([path[s]]))[0]) for s in spans).count("bab") == 0
    assert segments(path_scores([2, 0] * 2000), ABC, rate) == [slice(0, 4000)], "one word is not cut"


@pytest.fixture(scope="module")
def reader() -> Encoder:
    torch.manual_seed(3)
    model = zoo.create("hubert-base", **SMALL["hubert"], vocabulary=("<blank>", "|", *"abcdefg"))
    with torch.no_grad():
        model.ctc.weight.mul_(40)  # so that many symbols are likely
        model.ctc.bias[1] += 1.0
    return model


@pytest.mark.parametrize("beam_size", [1, 5])
def test_transcripts_do_not_depend_on_the_batch(reader: Encoder, beam_size: int) -> None:
    clips = [noise(2.0, 1), noise(0.8, 2), noise(1.3, 3)]
    options = {"beam_size": beam_size, "word_timestamps": True}
    together = reader.transcribe(clips, 16_000, **options)
    assert all(isinstance(t, Transcript) and t.text for t in together)
    for clip, transcript in zip(clips, together, strict=True):
        alone = reader.transcribe(clip, 16_000, **options)
        assert alone.text == transcript.text
        assert [(w.start, w.end) for w in alone.words] == [(w.start, w.end) for w in transcript.words]
        assert all(0 <= w.start < w.end <= transcript.duration for w in alone.words)
        assert "".join(w.text for w in alone.words).strip() == alone.text
        starts = [w.start for w in alone.words]
        assert starts == sorted(starts)


def test_a_clip_too_short_for_a_frame_has_no_text(reader: Encoder) -> None:
    clips = [noise(1.0), noise(1.0)[: reader.min_samples - 1], noise(1.0, seed=1)]
    first, short, last = reader.transcribe(clips, 16_000)  # type: ignore[attr-defined]
    assert short.text == "" and not short.segments and short.duration == len(clips[1]) / 16_000
    assert [first.text, last.text] == [reader.transcribe(clips[i], 16_000).text for i in (0, 2)]  # type: ignore[attr-defined]


def test_long_recordings_are_encoded_in_windows(reader: Encoder) -> None:
    reader.window_seconds, reader.context_seconds = 4.0, 1.0
    try:
        done: list[float] = []
        transcript = reader.transcribe(noise(20.0, 4), 16_000, progress=done.append)
        assert sum(done) == pytest.approx(20.0, abs=0.05) and len(done) > 5
        assert transcript.duration == 20.0 and transcript.segments[-1].end > 15
    finally:
        del reader.window_seconds, reader.context_seconds


def test_options_that_ctc_does_not_support(reader: Encoder) -> None:
    clip = noise(0.5)
    with pytest.raises(ConfigError, match="task 'translate'"):
        reader.transcribe(clip, 16_000, task="translate")
    with pytest.raises(ConfigError, match="unknown option 'beam'"):
        reader.transcribe(clip, 16_000, beam=5)
    with pytest.raises(ConfigError, match="does not sample"):
        reader.transcribe(clip, 16_000, temperature=0.5)
    with pytest.raises(ConfigError, match="needs a beam"):
        reader.transcribe(clip, 16_000, lm="words.arpa")
    for options in ({"lm_weight": 2.0}, {"beam_size": 20, "word_score": 0.0}):
        with pytest.raises(ConfigError, match=r"lm_weight, word_score.*give lm too"):
            reader.transcribe(clip, 16_000, **options)
    with pytest.raises(ConfigError, match=r"words\.arpa: cannot be read"):  # before any recording is read
        reader.transcribe("nowhere.wav", beam_size=20, lm="words.arpa")
    with pytest.raises(ConfigError, match="its vocabulary is empty"):
        zoo.create("hubert-base", **SMALL["hubert"]).transcribe(clip, 16_000)
    reader.provenance = {"languages": ["de"]}
    assert reader.transcribe(clip, 16_000).language == "de"
    assert reader.transcribe(clip, 16_000, language="German").language == "de"
    for options, message in (
        ({"beam_size": 5.0}, "beam_size 5.0: give a whole"),
        ({"language": 5}, "language 5: give"),
    ):
        with pytest.raises(ConfigError, match=message):
            reader.transcribe(clip, 16_000, **options)
    with pytest.raises(ConfigError, match="trained on de"):
        reader.transcribe(clip, 16_000, language="en")


def test_a_language_model_decides(reader: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "only.arpa"
    path.write_text("\\1-grams:\n-99 <s>\n-0.5 </s>\n-0.1 bad\n-9 <unk>\n\\end\\\n")
    clip = noise(1.5, 9)
    free = reader.transcribe(clip, 16_000, beam_size=20)
    bound = reader.transcribe(clip, 16_000, beam_size=20, lm=path, lm_weight=50.0, word_score=0.0)
    assert free.text.split().count("bad") == 0 and bound.text.split().count("bad") >= 3


def test_a_language_model_is_read_once_for_many_calls(
    reader: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clip, read = tmp_path / "words.arpa", noise(0.5), []
    whole = NGram.read
    monkeypatch.setattr(NGram, "read", lambda path: read.append(path) or whole(path))
    for word in ("bad", "bad", "cab"):
        content = f"\\1-grams:\n-99 <s>\n-0.5 </s>\n-0.1 {word}\n-9 <unk>\n\\end\\\n"
        if not path.is_file() or path.read_text() != content:
            path.write_text(content)
            os.utime(path, (len(read), len(read)))
        reader.transcribe(clip, 16_000, beam_size=20, lm=path)
    assert read == [path, path]  # it changed in between


def test_zoo_transcribe_with_ctc(reader: Encoder, tmp_path: Path) -> None:
    import soundfile

    from zoo.transcribe import run

    reader.provenance = {"languages": ["en"]}
    reader.save(tmp_path / "model")
    soundfile.write(tmp_path / "a.wav", noise(1.0, 1).numpy(), 16_000)
    summary = run(
        [str(tmp_path / "a.wav")],
        tmp_path / "model",
        tmp_path / "out",
        formats="json,txt",
        dtype="float32",
        device="cpu",
        progress=False,
        language=None,
        task="transcribe",
        mode="batched",
        vad="auto",
        beam_size=1,
        temperature=(0.0, 0.2),
        prompt=None,
        condition_on_previous_text=False,
        word_timestamps=True,
        padding=None,
        batch_size=16,
    )
    assert summary.written == 1
    transcript = json.loads((tmp_path / "out" / "a.json").read_text())
    assert transcript["text"] == reader.transcribe(tmp_path / "a.wav").text and transcript["language"] == "en"
    assert transcript["segments"][0]["words"]


@pytest.mark.parametrize("line", ["\\²-grams:", "\\0-grams:", "\\999999999999-grams:"])
def test_headings_of_no_order_are_no_headings(tmp_path: Path, line: str) -> None:
    path = tmp_path / "odd.arpa"
    path.write_text(f"{line}\n-1 a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no n-grams"):
        NGram.read(path)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_probabilities_are_numbers(tmp_path: Path, number: str) -> None:
    path = tmp_path / "odd.arpa"
    path.write_text(f"\\1-grams:\n{number}\ta\n")
    with pytest.raises(ConfigError, match=r"odd\.arpa:2: not a 1-gram"):
        NGram.read(path)


def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "bomb.arpa.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"bomb\.arpa\.gz:1: longer than"):
        NGram.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
