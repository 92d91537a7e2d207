"""Encoders of zoo behind the interfaces of other tools: HEAR, s3prl, scikit-learn. None of these has to be installed,
except scikit-learn.
"""
