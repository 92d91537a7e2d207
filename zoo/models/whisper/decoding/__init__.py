"""Decodes windows of up to 30 s: rules for the next token, greedy search, beams, sampling, fallback, language.

    requests -> prompts -> rows of the decoder -> rules -> sample | beam_search -> rank -> Decoded
                                  ^---- the next temperature, for the windows that failed ----'

Legend: W windows, G candidates a window, R = W x G rows, V vocabulary, U tokens.
"""

from zoo.models.whisper.decoding.fallback import decode
from zoo.models.whisper.decoding.options import Decoded, DecodingOptions, DecodingRequest

__all__ = ["Decoded", "DecodingOptions", "DecodingRequest", "decode"]
