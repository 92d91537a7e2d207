"""Accompaniment figures, one bar each, on a grid of eighth notes: "-" holds, "." rests.

Chords: C chord, c softer, 0 to 3 its tones from below. Bass: R root, F fifth, T third, O octave, A a step towards the
next root, P the tonic of the key. Drums: one row per General MIDI key, X loud, x soft.
"""

from __future__ import annotations

CHORDS = {
    "sustained": {"4/4": "C-------", "3/4": "C-----", "2/4": "C---", "6/8": "C-----"},
    "halves": {"4/4": "C---C---", "3/4": "C---c-", "2/4": "C-c-", "6/8": "C--c--"},
    "beats": {"4/4": "C-c-C-c-", "3/4": "C-c-c-", "2/4": "C-c-", "6/8": "C--c--"},
    "pulse": {"4/4": "CcccCccc", "3/4": "Cccccc", "2/4": "Cccc", "6/8": "CccCcc"},
    "alberti": {"4/4": "02120212", "3/4": "021212", "2/4": "0212", "6/8": "012012"},
    "arpeggio": {"4/4": "01232123", "3/4": "012321", "2/4": "0123", "6/8": "012321"},
    "broken": {"4/4": "0-2-1-2-", "3/4": "0-1-2-", "2/4": "0-2-", "6/8": "0-12-1"},
    "oompah": {"4/4": "..C...C.", "3/4": "..C.C.", "2/4": ".C.C", "6/8": "..C..C"},
    "strum": {"4/4": "C-Cc.cCc", "3/4": "C-CcCc", "2/4": "C-Cc", "6/8": "C-cC-c"},
    "offbeat": {"4/4": ".C.C.C.C", "3/4": ".C.C.C", "2/4": ".C.C", "6/8": ".CC.CC"},
    "comping": {"4/4": "C..C..c.", "3/4": "C..C..", "2/4": "C..c", "6/8": "C..C.."},
    "bossa": {"4/4": "C..C..C.", "3/4": "C..C..", "2/4": "C..C", "6/8": "C..C.."},
    "habanera": {"4/4": "C--cC-c-", "3/4": "C--cC-", "2/4": "C-cC", "6/8": "C-cC-c"},
    "stabs": {"4/4": "C..C..C.", "3/4": "C..C..", "2/4": "C.C.", "6/8": "C..C.."},
}
BASS = {
    "whole": {"4/4": "R-------", "3/4": "R-----", "2/4": "R---", "6/8": "R-----"},
    "fifths": {"4/4": "R---F---", "3/4": "R---F-", "2/4": "R-F-", "6/8": "R--F--"},
    "march": {"4/4": "R-..F-..", "3/4": "R-....", "2/4": "R.F.", "6/8": "R..F.."},
    "beats": {"4/4": "R-R-R-A-", "3/4": "R-R-A-", "2/4": "R-A-", "6/8": "R--A--"},
    "eighths": {"4/4": "RRRRRRRA", "3/4": "RRRRRA", "2/4": "RRRA", "6/8": "RRRRRA"},
    "walking": {"4/4": "R-T-F-A-", "3/4": "R-T-A-", "2/4": "R-A-", "6/8": "R--A--"},
    "octaves": {"4/4": "R.O.R.O.", "3/4": "R.O.O.", "2/4": "R.O.", "6/8": "R.OR.O"},
    "syncopated": {"4/4": "R--RF-.A", "3/4": "R--F.A", "2/4": "R-.F", "6/8": "R.FR.A"},
    "bossa": {"4/4": "R--FF--R", "3/4": "R--F--", "2/4": "R-.F", "6/8": "R--F--"},
    "habanera": {"4/4": "R--FR-F-", "3/4": "R--FR-", "2/4": "R-.F", "6/8": "R-FR-F"},
    "drone": {"4/4": "P-------", "3/4": "P-----", "2/4": "P---", "6/8": "P-----"},
}

_KICK, _RIM, _SNARE, _HAT, _OPEN_HAT, _RIDE, _TAMBOURINE, _CLAVES, _SHAKER = 36, 37, 38, 42, 46, 51, 54, 75, 70

DRUMS = {
    "rock": {
        "4/4": {_KICK: "X...Xx..", _SNARE: "..X...X.", _HAT: "XxXxXxXx"},
        "3/4": {_KICK: "X.....", _SNARE: "..X.X.", _HAT: "XxXxXx"},
        "2/4": {_KICK: "X...", _SNARE: "..X.", _HAT: "XxXx"},
        "6/8": {_KICK: "X.....", _SNARE: "...X..", _HAT: "XxxXxx"},
    },
    "soft": {
        "4/4": {_KICK: "x...x...", _RIM: "..x...x.", _HAT: "x.x.x.x."},
        "3/4": {_KICK: "x.....", _RIM: "....x.", _HAT: "x.x.x."},
        "2/4": {_KICK: "x...", _RIM: "..x.", _HAT: "xxxx"},
        "6/8": {_KICK: "x.....", _RIM: "...x..", _HAT: "xxxxxx"},
    },
    "march": {
        "4/4": {_KICK: "X...X...", _SNARE: "x.Xxx.Xx"},
        "3/4": {_KICK: "X.....", _SNARE: "..x.x."},
        "2/4": {_KICK: "X...", _SNARE: "x.Xx"},
        "6/8": {_KICK: "X..X..", _SNARE: "x.xX.x"},
    },
    "swing": {
        "4/4": {_RIDE: "X.XxX.Xx", _HAT: "..x...x.", _KICK: "x...x..."},
        "3/4": {_RIDE: "X.XxX.", _HAT: "..x.x.", _KICK: "x....."},
        "2/4": {_RIDE: "X.Xx", _HAT: "..x.", _KICK: "x..."},
        "6/8": {_RIDE: "X.xX.x", _HAT: "...x..", _KICK: "x....."},
    },
    "dance": {
        "4/4": {_KICK: "X.X.X.X.", _SNARE: "..X...X.", _OPEN_HAT: ".X.X.X.X"},
        "3/4": {_KICK: "X.X.X.", _SNARE: "..X.X.", _OPEN_HAT: ".X.X.X"},
        "2/4": {_KICK: "X.X.", _SNARE: "..X.", _OPEN_HAT: ".X.X"},
        "6/8": {_KICK: "X..X..", _SNARE: "...X..", _OPEN_HAT: "..X..X"},
    },
    "bossa": {
        "4/4": {_KICK: "X..xX..x", _RIM: "X..X..X.", _SHAKER: "xxxxxxxx"},
        "3/4": {_KICK: "X..x..", _RIM: "X..X..", _SHAKER: "xxxxxx"},
        "2/4": {_KICK: "X..x", _CLAVES: "X..X", _SHAKER: "xxxx"},
        "6/8": {_KICK: "X..X..", _CLAVES: "X.X..X", _SHAKER: "xxxxxx"},
    },
    "folk": {
        "4/4": {_KICK: "X...X...", _TAMBOURINE: "x.X.x.X."},
        "3/4": {_KICK: "X.....", _TAMBOURINE: "x.X.X."},
        "2/4": {_KICK: "X...", _TAMBOURINE: "x.X."},
        "6/8": {_KICK: "X..x..", _TAMBOURINE: "x.xX.x"},
    },
    "offbeat": {
        "4/4": {_KICK: "....X...", _RIM: "....X...", _HAT: "xXxXxXxX"},
        "3/4": {_KICK: "..X...", _RIM: "..X...", _HAT: "xXxXxX"},
        "2/4": {_KICK: "..X.", _RIM: "..X.", _HAT: "xXxX"},
        "6/8": {_KICK: "...X..", _RIM: "...X..", _HAT: "xXXxXX"},
    },
}
