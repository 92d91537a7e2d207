"""The tokenizer of Whisper: byte-level BPE, and special tokens that control the decoder.

Text ids come first, then <|endoftext|> and the other specials, then one token for each 20 ms from 0.00 to 30.00 s.
Files of fine-tuned models may have added tokens after the timestamps. Here these follow the text, so that the order is
always the same.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import json
import re
import string
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from zoo.errors import CheckpointError, ConfigError
from zoo.io.small_files import read_json, read_text
from zoo.text.bpe import (
    LONGEST_TOKEN,
    byte_of_character,
    check_bpe,
    check_tokens,
    complete,
    merges_of,
    pairs,
)
from zoo.text.languages import LANGUAGES

EOT, SOT = "<|endoftext|>", "<|startoftranscript|>"
TASKS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>")
NO_SPEECH = "<|nospeech|>"
RENAMED = {"<|nocaptions|>": NO_SPEECH, "<|iw|>": "<|he|>"}  # name in older files -> name today
NO_TIMESTAMPS = "<|notimestamps|>"
TIMESTAMPS = 1501
_STAMP = re.compile(r"<\|\d+\.\d\d\|>")
_ENGLISH_EOT = 50_256  # English-only models have GPT-2's vocabulary, and language tokens that they never use
UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages without spaces between words."""
_SIGNS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_SIGN_RUNS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
_MUSIC = "♩♪♫♬♭♮♯"


class WhisperTokenizer:
    """Text to ids and back, and the ids of the special tokens as attributes.

    Ids: eot, sot, sot_prev, sot_lm, no_speech, no_timestamps, timestamp_begin, transcribe, translate.
    languages: code -> id in the order of ids, empty for an English-only model.
    vocabulary, merges: of the text tokens.
    added: token -> id of tokens from fine-tuning; they have the last ids of the text.
    moved: ids of added tokens after the timestamps, as in the file and in the rows of its weights.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        specials: Mapping[str, int],
        silent: Collection[str] = (),
    ):
        """vocabulary, merges: byte-level BPE of the text tokens; specials: all other tokens, added ones included;
        silent: tokens that decode to no text.

        Raises ConfigError for a missing special token, and for an added token with the id of a timestamp.
        """
        specials = {RENAMED.get(token, token): i for token, i in specials.items()}
        missing = [token for token in (EOT, SOT, *TASKS, NO_SPEECH, NO_TIMESTAMPS) if token not in specials]
        if missing:
            raise ConfigError(f"not the tokenizer of a Whisper: it lacks {', '.join(missing)}")
        moved = _after_timestamps(specials)
        eot, count = specials[EOT], len(moved)
        text = {i for i in vocabulary.values() if i < eot}
        self.moved = tuple(moved.values())
        self.added = {token: i for token, i in specials.items() if i < eot and i not in text}
        self.added |= {token: eot + i for i, token in enumerate(moved)}
        self._silent = {token for token in self.added if token in silent}
        specials = {token: i + count for token, i in specials.items() if i >= eot and token not in moved}
        self.eot, self.sot = specials[EOT], specials[SOT]
        self.translate, self.transcribe, self.sot_lm, self.sot_prev = (specials[t] for t in TASKS)
        self.no_speech = specials[NO_SPEECH]
        self.no_timestamps = specials[NO_TIMESTAMPS]
        self.timestamp_begin = self.no_timestamps + 1
        self.vocabulary = {token: i for token, i in vocabulary.items() if i < eot}
        self.merges = [(a, b) for a, b in merges]
        try:
            check_bpe(self.vocabulary, self.merges)
        except ValueError as error:
            raise ConfigError(f"not the vocabulary of a Whisper: {error}") from error
        self._specials = {t: i for t, i in specials.items() if i < self.timestamp_begin}
        self._bpe = tokenizers.Tokenizer(models.BPE(vocab=dict(self.vocabulary), merges=self.merges))
        self._bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        languages = {t[2:-2]: i for t, i in specials.items() if self.sot < i < self.translate}
        self.languages = dict(sorted(languages.items(), key=lambda item: item[1]))
        self.multilingual = bool(self.languages) and self.eot - len(self.added) != _ENGLISH_EOT
        if not self.multilingual:
            self.languages = {}

    def __len__(self) -> int:
        """Number of ids, timestamps included; the decoder's embedding has as many rows."""
        return self.timestamp_begin + TIMESTAMPS

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        """Text id -> its bytes."""
        table = byte_of_character()
        added = {i: b"" if token in self._silent else token.encode() for token, i in self.added.items()}
        return {i: bytes(table[c] for c in token) for token, i in self.vocabulary.items()} | added

    @cached_property
    def _added_pattern(self) -> re.Pattern[str]:
        """Matches the added tokens in a text, the longest first."""
        names = sorted(self.added.keys() - self._silent, key=lambda token: (-len(token), token))
        return re.compile("|".join(map(re.escape, names)) or "(?!)")

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Names of special tokens in it are plain text."""
        ids, start = list[int](), 0
        for match in self._added_pattern.finditer(text):
            ids += [*self._bpe.encode(text[start : match.start()]).ids, self.added[match[0]]]
            start = match.end()
        return [*ids, *self._bpe.encode(text[start:]).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids. Specials and timestamps are skipped; incomplete UTF-8 becomes U+FFFD."""
        return b"".join(self._bytes.get(int(i), b"") for i in ids).decode("utf-8", errors="replace")

    def timestamp(self, seconds: float) -> int:
        """Id of a time in [0, 30] s, to the nearest 20 ms."""
        return self.timestamp_begin + round(seconds * 50)

    @cached_property
    def _non_speech(self) -> tuple[int, ...]:
        # " -" and " '" do not begin a spoken word; "-" and "'" inside a word are allowed.
        excluded = {self.encode(" -")[0], self.encode(" '")[0]}
        for symbol in (*_SIGNS, *_SIGN_RUNS.split(), *_MUSIC):
            for ids in (self.encode(symbol), self.encode(" " + symbol)):
                if len(ids) == 1 or symbol in _MUSIC:
                    excluded.add(ids[0])
        return tuple(sorted(excluded))

    def non_speech_tokens(self) -> tuple[int, ...]:
        """Text ids of annotation signs: brackets, notes, speaker dashes (openai/whisper)."""
        return self._non_speech

    def split_to_words(self, ids: Sequence[int], language: str = "en") -> tuple[list[str], list[list[int]]]:
        """Words of a sequence of ids, and the ids of each word. A special token is one word.

        Words begin with their space. In languages without spaces each complete character sequence is a word.
        """
        texts, groups = self._split_on_characters(ids)
        if language in UNSPACED:
            return texts, groups
        words: list[str] = []
        tokens: list[list[int]] = []
        for text, group in zip(texts, groups, strict=True):
            begins_word = group[0] >= self.eot or text.startswith(" ") or text.strip() in string.punctuation
            if begins_word or not words or tokens[-1][0] >= self.eot:
                words.append(text)
                tokens.append(list(group))
            else:
                words[-1] += text
                tokens[-1] += group
        return words, tokens

    def _split_on_characters(self, ids: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Texts and ids of the shortest runs that end with a whole character. Joined, the texts equal `decode`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts: list[str] = []
        groups: list[list[int]] = []
        text, pending = "", list[int]()
        for i in ids:
            pending.append(int(i))
            text += decoder.decode(self._bytes.get(int(i), b""))
            unfinished, _ = decoder.getstate()
            if not unfinished:
                texts.append(text)
                groups.append(pending)
                text, pending = "", []
        if pending:
            texts.append(text + decoder.decode(b"", final=True))
            groups.append(pending)
        return texts, groups

    @classmethod
    def from_file(cls, path: str | Path) -> WhisperTokenizer:
        """From a tokenizer.json of the tokenizers library. Raises CheckpointError."""
        path = Path(path)
        content = read_json(path)
        try:
            model = content["model"]
            specials = {token["content"]: token["id"] for token in content["added_tokens"]}
            silent = {token["content"] for token in content["added_tokens"] if token.get("special", True)}
            check_tokens(specials)
            return cls(model["vocab"], complete(pairs(model["merges"]), model["vocab"]), specials, silent)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: not the tokenizer.json of a Whisper ({error})") from error

    @classmethod
    def from_vocabulary(cls, directory: str | Path) -> WhisperTokenizer:
        """From vocab.json, merges.txt and added_tokens.json, as transformers wrote them. Raises CheckpointError."""
        directory = Path(directory)
        vocabulary = read_json(directory / "vocab.json")
        lines = read_text(directory / "merges.txt").splitlines()
        added = directory / "added_tokens.json"
        specials = read_json(added) if added.is_file() else {}
        try:
            specials |= {t: i for t, i in vocabulary.items() if t.startswith("<|") and t.endswith("|>")}
            merges = pairs([line for line in lines if line and not line.startswith("#version")])
            silent = {token for token in specials if token.startswith("<|")}
            check_tokens(specials)
            return cls(vocabulary, complete(merges, vocabulary), specials, silent)
        except (ValueError, LookupError, TypeError) as error:
            raise CheckpointError(f"{directory}: not the vocabulary of a Whisper ({error})") from error

    @classmethod
    def from_tokens(cls, tokens: Sequence[str]) -> WhisperTokenizer:
        """From all tokens in the order of their ids, as CTranslate2 stores them. Raises ConfigError."""
        ids = {token: i for i, token in enumerate(tokens)}
        eot = ids.get(EOT, 0)
        vocabulary = {token: i for token, i in ids.items() if i < eot}
        specials = {token: i for token, i in ids.items() if i >= eot}
        return cls(vocabulary, complete([], vocabulary), specials, [t for t in specials if t.startswith("<|")])

    @classmethod
    def from_tiktoken(cls, path: str | Path, num_languages: int = 99) -> WhisperTokenizer:
        """From gpt2.tiktoken or multilingual.tiktoken of openai-whisper: one base64 token and its rank a line.

        Raises CheckpointError.
        """
        path = Path(path)
        try:
            rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
            ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
            longest = max(map(len, ranks), default=0)
            if longest > LONGEST_TOKEN:
                raise ValueError(f"a token of {longest} bytes")
        except CheckpointError:
            raise
        except (ValueError, binascii.Error) as error:
            raise CheckpointError(f"{path}: not a tiktoken vocabulary ({error})") from error
        names = [EOT, SOT, *(f"<|{code}|>" for code in LANGUAGES[:num_languages]), *TASKS, NO_SPEECH, NO_TIMESTAMPS]
        specials = {name: len(ranks) + i for i, name in enumerate(names)}
        characters = {byte: character for character, byte in byte_of_character().items()}
        spelling = {token: "".join(characters[byte] for byte in token) for token in ranks}
        merges = [(spelling[a], spelling[b]) for a, b in merges_of(ranks, ranks)]
        return cls({spelling[token]: rank for token, rank in ranks.items()}, merges, specials)

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.json for this class, transformers and faster-whisper."""
        full = tokenizers.Tokenizer(models.BPE(vocab=dict(self.vocabulary), merges=self.merges))
        full.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        full.decoder = decoders.ByteLevel()
        content: dict[str, Any] = json.loads(full.to_str())
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        with_text = self.added.keys() - self._silent
        content["added_tokens"] = [
            {"id": i, "content": token, "special": token not in with_text} | flags
            for token, i in sorted((self.added | self._specials).items(), key=lambda item: item[1])
        ]
        Path(path).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def fingerprint(self) -> str:
        """16 hexadecimal digits over vocabulary, merges and specials."""
        content: tuple[Any, ...] = (sorted(self.vocabulary.items()), self.merges, sorted(self._specials.items()))
        if self.added:
            content += (sorted(self.added.items()), sorted(self._silent))
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _after_timestamps(specials: Mapping[str, int]) -> dict[str, int]:
    """Tokens after the timestamps, in the order of ids. Raises ConfigError for one with the id of a timestamp."""
    last = specials[NO_TIMESTAMPS]
    others = {t: i for t, i in specials.items() if i > last and not _STAMP.fullmatch(t)}
    for token, i in others.items():
        if i <= last + TIMESTAMPS:
            raise ConfigError(
                f"the added token {token!r} has the id {i} of a timestamp; zoo reads added tokens after the "
                f"{TIMESTAMPS} timestamps only: remove it from the file if it was never trained"
            )
    return dict(sorted(others.items(), key=lambda item: item[1]))
