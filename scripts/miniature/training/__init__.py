"""How the miniature is trained, and every figure of it.

portraits.py     drawn photos of people
crowds.py        where drawn people stand
lessons.py       what each part sees and draws
train.py         one command, resumable
evaluate.py      every figure, on people it has not seen
"""
