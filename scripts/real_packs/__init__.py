"""Other packs beside ours: run.py is the command.

graphs.py and packs.py run inside a host, so they import it, torch and `pack` at the top.
"""
