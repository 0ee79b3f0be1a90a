"""Attention of our own (decoupled cross-attention, attention couple, LoRA): formulas on tensors, of no host."""
