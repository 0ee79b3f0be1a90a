"""What batch.py is made of: rows, where they go into a workflow, the workers, the folder pictures come into."""
