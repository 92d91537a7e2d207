"""Signs of a cut file that decoders keep to themselves.

libsndfile shortens a cut WAV, AIFF, AU or W64 to the data that is there, and takes the last page of a cut Ogg file for
its end. What follows finds

* WAV, AIFF, AU, CAF, W64: a data chunk that claims more bytes than the file has;
* Ogg (Vorbis, Opus, FLAC): a last page that is not whole;
* MP3: whether a header (Xing, Info, VBRI) states the length, so that a shorter decode is known to be one.

FLAC and most containers state their length themselves. Not detectable: an Ogg file cut exactly between two pages (the
lack of an end mark is no proof, saved radio streams never have one), an MP3 without a length header, a WAV whose header
was written to a pipe and claims "unlimited", a Matroska file whose video is the longer part, ADTS and MPEG-TS streams.
Nor is what follows the end that a file states for itself: of files joined by `cat`, only the first may be heard.
"""

from __future__ import annotations

import os
import re

# libsndfile's log of a chunk that claims more than the file holds, e.g. "data : 1280000 (should be 639978)".
CLAIM = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
PIPED = (2**31, 2**32)  # sizes near these, or twice that, are written by programs that cannot seek back to fill them in
SLACK = 2**16
OGG_PAGE = 27 + 255 + 255 * 255  # the longest: header, segment table, body


def missing_bytes(log: str) -> int:
    """Bytes that the header claims and the file lacks, from libsndfile's log of opening it; 0 where all is well."""
    for claim in CLAIM.finditer(log):
        claimed, present = int(claim[1]), int(claim[2])
        if claimed > present and all(abs(claimed - size) > SLACK for size in PIPED):
            return claimed - present
    return 0


def ends_inside_ogg_page(file: int) -> bool:
    """Whether the last Ogg page of an open file reaches beyond the end of the file.

    file: descriptor; its position stays where it is.
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
    """The sample at which the last Ogg page of an open file begins: where those before it end; 0 where none does.

    file: descriptor; its position stays where it is.
    """
    size = os.fstat(file).st_size
    tail = os.pread(file, 2 * OGG_PAGE, max(0, size - 2 * OGG_PAGE))
    page = tail.rfind(b"OggS\0", 0, tail.rfind(b"OggS\0"))
    while page >= 0:
        end = int.from_bytes(tail[page + 6 : page + 14], "little", signed=True)
        if end >= 0:  # -1: nothing ends on the page
            return end
        page = tail.rfind(b"OggS\0", 0, page)
    return 0


def mp3_states_length(file: int) -> bool:
    """Whether the first MPEG frame holds a Xing, Info or VBRI header with the number of frames.

    Without one, libsndfile guesses the length from the first frames and stops there: a variable-bit-rate recording
    that opens with noise and goes on in silence loses most of its end.
    file: descriptor; its position stays where it is.
    """
    head = os.pread(file, 10, 0)
    start = 0
    if head[:3] == b"ID3":  # tag size: 4 bytes of 7 bits
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = os.pread(file, 512, start)
    found = re.search(rb"(?:Xing|Info)...(.)", frame, re.DOTALL)
    return b"VBRI" in frame or (found is not None and bool(found[1][0] & 1))
