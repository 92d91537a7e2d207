"""The embedded corpora: speech and music that are made here, from a seed, with packages from pip alone.

    manifest = build("speech", "small")     # 1 h with transcripts, speakers, languages and exact phone alignments
    manifest = build("music", "small")      # 1 h with captions that state true facts, and labels

They make every recipe and benchmark run anywhere; real sets come in through manifests of the same form.
"""

from zoo.corpora.builder import build, default_folder, fingerprint

__all__ = ["build", "default_folder", "fingerprint"]
