"""The length headers of MP3 files (Xing, Info, VBRI), held against the size of the file; MPEG frames in bytes.

A length header cannot be trusted: programs that stream leave zeros in it, and in files joined by `cat` it counts the
first one only.
"""

from __future__ import annotations

import os
import re

LARGEST_FRAME = 2881  # bytes; layer II at 384 kbit/s and 32 kHz, padded, plus the header frame that some do not count
BLOCK = 2**20  # bytes read at once
FRAME = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef].", re.DOTALL)  # 4 bytes
XING = re.compile(rb"(?:Xing|Info)...(.)(.{4})(.{4})", re.DOTALL)  # flags, frames, bytes
KBITS = {  # (MPEG version 1 or 2, layer): kbit/s for each value of 4 bits
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def has_length_header(file: int) -> bool:
    """Whether the first frame is a Xing, Info or VBRI header, right or wrong.

    file: descriptor; its position does not change.
    """
    first = os.pread(file, 512, _first_frame(file))
    return b"VBRI" in first or XING.search(first) is not None


def states_length(file: int) -> bool:
    """Whether a length header states the length of the whole file.

    Without one, libsndfile guesses the length from the first frames and stops there. It would lose most of a recording
    with variable bit rate that starts with noise and continues with silence. A header is not believed if it states no
    frames or no bytes, or if frames follow behind the bytes that it states.
    file: descriptor; its position does not change.
    """
    start = _first_frame(file)
    frames, size = _stated(os.pread(file, 512, start))
    return frames > 0 and size > 0 and not frames_follow(file, start + size + LARGEST_FRAME)


def frames_follow(file: int, place: int) -> bool:
    """Whether MPEG frames begin at byte `place` or behind it; two in a row, since other bytes may look like one.

    file: descriptor; its position does not change.
    """
    while data := os.pread(file, BLOCK, place):
        for match in FRAME.finditer(data):
            first = match.start()
            second = first + frame_bytes(data[first : first + 4])
            third = second + frame_bytes(data[second : second + 4])
            if first < second < third and frame_bytes(data[third : third + 4]):
                return True
        if len(data) < BLOCK:
            return False
        place += BLOCK - 3 * LARGEST_FRAME
    return False


def frame_bytes(head: bytes) -> int:
    """Length of the MPEG frame that begins with these 4 bytes; 0 if they begin none."""
    if FRAME.fullmatch(head) is None or head[2] & 0x0C == 0x0C:  # the fourth sample rate is reserved
        return 0
    version = 1 if head[1] & 0x08 else 2  # 2 also stands for 2.5
    halvings = {0x18: 0, 0x10: 1, 0x00: 2}[head[1] & 0x18]
    layer = 4 - (head[1] >> 1 & 3)
    hertz = (44100, 48000, 32000)[head[2] >> 2 & 3] >> halvings
    bits = 1000 * KBITS[version, layer][head[2] >> 4]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if (version, layer) == (2, 3) else 144) * bits // hertz + padding


def _first_frame(file: int) -> int:
    """The byte behind an ID3 tag at the start of the file."""
    head = os.pread(file, 10, 0)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))  # 4 times 7 bits


def _stated(first: bytes) -> tuple[int, int]:
    """Frames and bytes that a length header states; 0 for what it does not state."""
    place = first.find(b"VBRI")
    if place >= 0:
        size, frames = first[place + 10 : place + 14], first[place + 14 : place + 18]
        return int.from_bytes(frames, "big"), int.from_bytes(size, "big")
    match = XING.search(first)
    if match is None or match[1][0] & 3 != 3:  # flags: frames, bytes
        return 0, 0
    return int.from_bytes(match[2], "big"), int.from_bytes(match[3], "big")
