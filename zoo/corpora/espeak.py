"""eSpeak NG through ctypes: text -> waveform and the first sample of every phone.

The engine keeps hidden state between utterances (glottal phase, flutter, noise), so the waveform of a text would depend
on the utterances before. Here the library is loaded again for every utterance. This takes 3 ms, and makes the result a
function of only the arguments. One utterance at a time per process.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from zoo.corpora.clip import INSTALL
from zoo.errors import MissingDependencyError, ZooError
from zoo.io.scratch import make_locked, remove_abandoned

SAMPLE_RATE = 22050

# Values of speak_lib.h
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IPA, _DONT_EXIT = 1, 2, 0x8000
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7
_LIST_END, _PHONEME = 0, 7
_UTF8 = 1
_TIED_IPA = (ord("^") << 8) | 0x82  # for espeak_TextToPhonemes: IPA in UTF-8, with a mark inside diphthongs
_PREFIX = "zoo-espeak-"  # of temporary folders
_VARIANTS = 100  # voice variants in the data folder: the engine can list only 349 voices, including its own


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Voice:
    """A voice. accent: an eSpeak language ("en-us"); name, timbre: file name and content of a voice variant."""

    accent: str
    name: str
    timbre: str


@dataclass(frozen=True)
class Delivery:
    """Speaking style. rate: words per minute; pitch, pitch_range: 0 to 100; word_gap: in 10 ms at normal speed."""

    rate: int = 170
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0


@dataclass
class Utterance:
    """wave: int16 (S,) at SAMPLE_RATE. phones: (first sample, IPA symbol from eSpeak, "" for pauses)."""

    wave: np.ndarray
    phones: list[tuple[int, str]]


_unload = ctypes.CDLL(None).dlclose
_unload.argtypes = [ctypes.c_void_p]
_lock = threading.Lock()
_variants: dict[str, str] = {}  # voice variants in the data folder: name -> content


def speak(text: str, voice: Voice, delivery: Delivery, volume: int = 60) -> Utterance:
    """Synthesize `text`. The same arguments always give the same samples.

    volume: 0 to 200; 100 is eSpeak's default, but loud voices clip there.
    Raises MissingDependencyError without espeakng-loader, ZooError if the engine does not accept the voice.
    """
    blocks: list[np.ndarray] = []
    phones: list[tuple[int, str]] = []

    @_Callback
    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in _until_end(events):
            if event.type == _PHONEME:
                phones.append((event.sample, bytes(event.id.string).split(b"\0")[0].decode("utf-8", "ignore")))
        return 0

    home = _home()
    _write_variant(voice, home / "voices" / "!v")
    parameters = {
        _RATE: delivery.rate,
        _VOLUME: volume,
        _PITCH: delivery.pitch,
        _RANGE: delivery.pitch_range,
        _WORDGAP: delivery.word_gap,
    }
    with _lock, _started(home) as library:
        library.espeak_SetSynthCallback(receive)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        _set_voice(library, f"{voice.accent}+{voice.name}")
        for parameter, value in parameters.items():
            library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        library.espeak_Terminate()
    return Utterance(np.concatenate([np.zeros(0, np.int16), *blocks]), phones)


def ipa(text: str, accent: str) -> str:
    """The phones of a text in IPA, with ^ inside affricates and diphthongs, without punctuation.

    Raises as `speak` does.
    """
    data = ctypes.c_char_p(text.encode())
    rest = ctypes.c_void_p(ctypes.cast(data, ctypes.c_void_p).value)
    clauses = []
    with _lock, _started(_home()) as library:
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        _set_voice(library, accent)
        while rest.value:
            clauses.append(library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _TIED_IPA).decode())
        library.espeak_Terminate()
    return " ".join(clauses)


def require() -> None:
    """Raises MissingDependencyError if eSpeak NG is not installed."""
    _loader()


def _write_variant(voice: Voice, folder: Path) -> None:
    """Write the file of a voice variant to `folder`, unless it exists; the oldest is removed if there are many."""
    if _variants.get(voice.name) == voice.timbre:
        return
    while len(_variants) >= _VARIANTS:
        oldest = next(iter(_variants))
        (folder / oldest).unlink()
        del _variants[oldest]
    (folder / voice.name).write_text(voice.timbre, encoding="utf-8")
    _variants[voice.name] = voice.timbre


def _until_end(events: Any) -> Iterator[_Event]:
    index = 0
    while events[index].type != _LIST_END:
        yield events[index]
        index += 1


@contextmanager
def _started(home: Path) -> Iterator[ctypes.CDLL]:
    """The engine in its initial state, started with a data folder; unloaded afterwards."""
    library = ctypes.CDLL(_loader().get_library_path())
    try:
        if library.espeak_Initialize(_SYNCHRONOUS, 0, bytes(home), _PHONEME_EVENTS | _IPA | _DONT_EXIT) != SAMPLE_RATE:
            raise ZooError(f"eSpeak NG cannot start with the data in {home}; reinstall it: {INSTALL}")
        yield library
    finally:
        _unload(library._handle)


def _set_voice(library: ctypes.CDLL, voice: str) -> None:
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ZooError(f"eSpeak NG has no voice {voice}; use one of its languages")


def _loader() -> Any:
    try:
        import espeakng_loader
    except ImportError:
        raise MissingDependencyError(f"the speech corpus needs eSpeak NG: {INSTALL}") from None
    return espeakng_loader


@cache
def _home() -> Path:
    """A copy of the engine's data folder, made of links, with a writable folder for voice variants.

    It is removed at the end of this process, or, if this process is killed, when the next one makes its own.
    """
    source = Path(_loader().get_data_path())
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent, f"{_PREFIX}*")
    folder = parent / f"{_PREFIX}{uuid4().hex[:12]}"
    make_locked(folder, mode=0o700)
    atexit.register(_remove_if_own, folder, os.getpid())
    for item in source.iterdir():
        if item.name != "voices":
            (folder / item.name).symlink_to(item)
    (folder / "voices" / "!v").mkdir(parents=True)
    return folder


def _remove_if_own(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a forked child, because its parent still uses the folder
        shutil.rmtree(folder, ignore_errors=True)
