"""Detect truncated files that decoders do not report.

libsndfile shortens a truncated WAV, AIFF, AU or W64 to the existing data, and reads a truncated Ogg file up to its last
page. This module detects:

* WAV, AIFF, AU, CAF, W64: a data chunk that claims more bytes than the file has;
* WAV: data behind a size of 0, as programs write that stream; more data than stated; another WAV behind the first;
* Ogg (Vorbis, Opus, FLAC): an incomplete last page; a second stream behind the first (a chain).

`mpeg` looks at the length headers of MP3 files.

FLAC and most containers state their length. Not detectable are: an Ogg file truncated exactly between two pages (a
missing end mark is no proof, because saved radio streams never have one), an MP3 without a length header, a WAV that
was written to a pipe and claims "unlimited" length, a Matroska file with a video longer than its audio, ADTS and
MPEG-TS streams. Audio after the stated end of other formats is not detected either: of several FLAC files joined by
`cat`, only the first is read.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

# A line in libsndfile's log: a chunk claims more bytes than the file has, e.g. "data : 1280000 (should be 639978)".
CLAIM = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
PIPED = (2**31, 2**32)  # programs that write to a pipe claim a size near one of these, since they cannot seek back
SLACK = 2**16  # bytes by which such a size may differ
ROUND, LEAST = 10**8, 10**9  # others claim a multiple of ROUND, at least LEAST
HEADER = 128  # bytes by which that may differ: some subtract the header
MOST_CHUNKS = 1000  # of a WAV file before its data, or behind it
CHUNK_NAME = re.compile(rb"[ -~]{4}")
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # how tags begin that stand behind the audio
OGG_PAGE = 27 + 255 + 255 * 255  # the longest: header, segment table, body
OGG_PAGE_START = re.compile(rb"OggS\0([\0-\7])")  # flags: 2 is the first page of a stream
BLOCK = 2**22  # bytes read at once


def missing_bytes(log: str) -> int:
    """Bytes that the header claims but the file does not have, from libsndfile's log; 0 if the file is complete."""
    for claim in CLAIM.finditer(log):
        claimed, present = int(claim[1]), int(claim[2])
        if claimed > present and not _placeholder(claimed, present):
            return claimed - present
    return 0


def _placeholder(claimed: int, present: int) -> bool:
    """Whether a program that streams wrote this size, since it did not know the size yet."""
    if any(abs(claimed - size) <= SLACK for size in PIPED):
        return True
    from_round = abs(claimed - round(claimed / ROUND) * ROUND)
    return claimed >= LEAST - HEADER and from_round <= HEADER and present < claimed / 2


def wav_data(file: int) -> tuple[int, int]:
    """The stated size of the data chunk of a WAV file, and the byte behind it; (-1, 0) for other files.

    file: descriptor; its position does not change. The same holds for the functions below.
    """
    head = os.pread(file, 12, 0)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return -1, 0
    place = 12
    for _ in range(MOST_CHUNKS):
        chunk = os.pread(file, 8, place)
        if len(chunk) < 8:
            break
        size = int.from_bytes(chunk[4:], "little")
        place += 8 + size + size % 2
        if chunk[:4] == b"data":
            return size, place
    return -1, 0


def wav_states_zero(file: int) -> bool:
    """Whether a WAV file states that it has no data but has some."""
    size, place = wav_data(file)
    return size == 0 and _behind_chunks(file, place) > 0


def joined_wav(file: int) -> bool:
    """Whether another WAV file stands behind the data of the first."""
    _, place = wav_data(file)
    return place > 0 and os.pread(file, 4, place) == b"RIFF"


def lost_wav_bytes(file: int) -> int:
    """Bytes behind the stated data of a WAV file that may be audio: neither chunks nor tags nor zeros, and many."""
    size, place = wav_data(file)
    left = _behind_chunks(file, place) if size > 0 else 0
    return left if left > SLACK else 0


def _behind_chunks(file: int, place: int) -> int:
    """Bytes behind the chunks of a WAV file that begin at `place`; 0 if they are a tag or begin with many zeros."""
    end = os.fstat(file).st_size
    for _ in range(MOST_CHUNKS):
        name, size = os.pread(file, 4, place), int.from_bytes(os.pread(file, 4, place + 4), "little")
        if not CHUNK_NAME.fullmatch(name) or place + 8 + size > end:
            break
        place += 8 + size + size % 2
    begin = os.pread(file, SLACK, place)
    return 0 if begin.startswith(TAGS) or not begin.strip(b"\0") else end - place


def ends_inside_ogg_page(file: int) -> bool:
    """Whether the last Ogg page of an open file extends beyond the end of the file."""
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * OGG_PAGE, max(0, size - 2 * OGG_PAGE))
    page = tail.rfind(b"OggS\0")
    if page < 0 or page + 27 > len(tail):
        return True
    segments = tail[page + 26]
    table = tail[page + 27 : page + 27 + segments]
    return page + 27 + segments + sum(table) > len(tail)


def last_ogg_page(file: int) -> int:
    """The first sample of the last Ogg page of an open file, which is the end of the pages before it; 0 if unknown."""
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * OGG_PAGE, max(0, size - 2 * OGG_PAGE))
    page = tail.rfind(b"OggS\0", 0, tail.rfind(b"OggS\0"))
    while page >= 0:
        end = int.from_bytes(tail[page + 6 : page + 14], "little", signed=True)
        if end >= 0:  # -1: no packet ends on the page
            return end
        page = tail.rfind(b"OggS\0", 0, page)
    return 0


@lru_cache(maxsize=4096)
def ogg_is_chained(path: str, size: int, time: int) -> bool:
    """Whether another stream begins behind the first pages with sound of an Ogg file. Reads the whole file.

    size, time: of the file in bytes and nanoseconds, so that a changed file is read again.
    """
    begun = False
    rest = b""
    with open(path, "rb") as file:  # noqa: PTH123 (as given)
        while block := file.read(BLOCK):
            data = rest + block
            for page in OGG_PAGE_START.finditer(data):
                first = bool(page[1][0] & 2)
                if first and begun:
                    return True
                begun = begun or not first
            rest = data[-5:]
    return False
