"""The cases of bench.py, a file per method. They run inside a host, so they import it, torch and `pack` at the top."""
