"""What beside.py runs. It runs inside a host, so it imports it, torch and `pack` at the top."""
