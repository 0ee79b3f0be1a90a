"""Tiny networks of the host, LoRAs and people without photos: what tests, bench.py and real_packs run on."""
