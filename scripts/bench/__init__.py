"""The cases of bench.py. They run inside a host, so they import it, torch and `pack` at the top."""
