"""Detect truncated files that decoders do not report.

libsndfile shortens a truncated WAV, AIFF, AU or W64 to the existing data, and reads a truncated Ogg file up to its last
page. This module detects:

* WAV, AIFF, AU, CAF, W64: a data chunk that claims more bytes than the file has;
* Ogg (Vorbis, Opus, FLAC): an incomplete last page;
* MP3: whether a header (Xing, Info, VBRI) states the length, so that missing audio can be detected.

FLAC and most containers state their length. Not detectable are: an Ogg file truncated exactly between two pages (a
missing end mark is no proof, because saved radio streams never have one), an MP3 without a length header, a WAV that
was written to a pipe and claims "unlimited" length, a Matroska file with a video longer than its audio, ADTS and
MPEG-TS streams. Audio after the stated end of a file is not detected either: of several files joined by `cat`, perhaps
only the first is read.
"""

from __future__ import annotations

import os
import re

# A line in libsndfile's log: a chunk claims more bytes than the file has, e.g. "data : 1280000 (should be 639978)".
CLAIM = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
PIPED = (2**31, 2**32)  # programs that write to a pipe claim a size near one of these, since they cannot seek back
SLACK = 2**16  # bytes by which such a size may differ
OGG_PAGE = 27 + 255 + 255 * 255  # the longest: header, segment table, body


def missing_bytes(log: str) -> int:
    """Bytes that the header claims but the file does not have, from libsndfile's log; 0 if the file is complete."""
    for claim in CLAIM.finditer(log):
        claimed, present = int(claim[1]), int(claim[2])
        if claimed > present and all(abs(claimed - size) > SLACK for size in PIPED):
            return claimed - present
    return 0


def ends_inside_ogg_page(file: int) -> bool:
    """Whether the last Ogg page of an open file extends beyond the end of the file.

    file: descriptor; its position does not change.
    """
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * OGG_PAGE, max(0, size - 2 * OGG_PAGE))
    page = tail.rfind(b"OggS\0")
    if page < 0 or page + 27 > len(tail):
        return True
    segments = tail[page + 26]
    table = tail[page + 27 : page + 27 + segments]
    return page + 27 + segments + sum(table) > len(tail)


def last_ogg_page(file: int) -> int:
    """The first sample of the last Ogg page of an open file, which is the end of the pages before it; 0 if unknown.

    file: descriptor; its position does not change.
    """
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * OGG_PAGE, max(0, size - 2 * OGG_PAGE))
    page = tail.rfind(b"OggS\0", 0, tail.rfind(b"OggS\0"))
    while page >= 0:
        end = int.from_bytes(tail[page + 6 : page + 14], "little", signed=True)
        if end >= 0:  # -1: no packet ends on the page
            return end
        page = tail.rfind(b"OggS\0", 0, page)
    return 0


def mp3_states_length(file: int) -> bool:
    """Whether the first MPEG frame holds a Xing, Info or VBRI header with the number of frames.

    Without one, libsndfile guesses the length from the first frames and stops there. It would lose most of a recording
    with variable bit rate that starts with noise and continues with silence.
    file: descriptor; its position does not change.
    """
    head = os.pread(file, 10, 0)
    start = 0
    if head[:3] == b"ID3":  # tag size: 4 bytes of 7 bits
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = os.pread(file, 512, start)
    match = re.search(rb"(?:Xing|Info)...(.)", frame, re.DOTALL)
    return b"VBRI" in frame or (match is not None and bool(match[1][0] & 1))
