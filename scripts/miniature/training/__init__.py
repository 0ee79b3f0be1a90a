"""How the miniature is trained, and figures of ID-Patch.

portraits.py     drawn photos of people
crowds.py        where drawn people stand
lessons.py       what each part sees and draws
train.py         one command, resumable
evaluate.py      these figures, on people it has not seen
"""
