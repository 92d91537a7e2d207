"""Encoders of zoo in the shapes that other tools ask for: HEAR, s3prl, scikit-learn. Each needs zoo alone."""
