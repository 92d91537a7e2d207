"""Encoders of zoo behind the interfaces of other tools: MTEB, X-ARES, HEAR, s3prl, scikit-learn. Only scikit-learn has
to be installed, and MTEB for its own adapter.
"""
