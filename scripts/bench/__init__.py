"""What bench.py counts. It runs inside a host, so it imports it, torch and `pack` at the top."""
