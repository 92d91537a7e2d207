"""Text: normalizers, transcripts, prompts."""
