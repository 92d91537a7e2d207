"""AST: an audio spectrogram transformer over 10 s windows."""
