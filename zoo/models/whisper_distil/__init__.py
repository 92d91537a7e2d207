"""Cards of distil-whisper, which Whisper computes."""
