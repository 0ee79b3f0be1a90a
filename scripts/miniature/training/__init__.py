"""How the miniature is trained, and figures of ID-Patch. No demo and no user needs any of it.

portraits.py     drawn photos of people
crowds.py        where drawn people stand
pool.py          many drawn photos, as the recogniser sees them
lessons/         what each part sees and draws, one lesson a file
train.py         one command, resumable
evaluate.py      these figures, on people it has not seen

scripts/requirements/training.txt has what it needs beside the demo.
"""
