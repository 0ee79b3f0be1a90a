"""What trains the toy model's story: ID-Patch and Share Parts Attention in one picture.

crowds.py     where drawn people stand
story.py      what is drawn, and what an error costs
train.py      the command; it keeps its state
"""
