"""HuBERT: pre-training (train) and CTC fine-tuning (finetune)."""
