"""Connectionist temporal classification (Graves et al. 2006): a symbol or a blank in every frame -> text.

log-probabilities (T, V) -> path -> characters -> words        greedy: the likeliest symbol of each frame
                         -> beam search (+ n-gram) -> labels -> alignment -> path ...
"""

from zoo.models.ctc.alphabet import Alphabet
from zoo.models.ctc.beam import beam_search
from zoo.models.ctc.ngram import NGram
from zoo.models.ctc.path import Character, align, characters, collapse, greedy, words

__all__ = ["Alphabet", "Character", "NGram", "align", "beam_search", "characters", "collapse", "greedy", "words"]
