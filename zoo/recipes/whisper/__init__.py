"""Whisper: training from scratch, fine-tuning, LoRA and distillation; see train."""
