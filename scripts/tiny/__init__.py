"""Tiny networks of the host, LoRAs and people without photos: what tests and bench.py run on."""
