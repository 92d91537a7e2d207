"""Generated corpora: speech and music, made from a seed with packages from pip only.

    manifest = build("speech", "small")     # 1 h with transcripts, speakers, languages and exact phone alignments
    manifest = build("music", "small")      # 1 h with captions and labels that are true

With them, every recipe and benchmark can run anywhere. Real data sets use manifests of the same format.
"""

from zoo.corpora.builder import build, default_folder, fingerprint

__all__ = ["build", "default_folder", "fingerprint"]
