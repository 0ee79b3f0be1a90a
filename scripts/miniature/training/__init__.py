"""How the miniature is trained, and every figure of it.

portraits.py          drawn photos of people
crowds.py             where drawn people stand
train.py              one command, resumable
fit_autoencoder.py    its first part
fit_projections.py    its second: from photos to looks
fit_networks.py       its third: pictures
evaluate.py           every figure, on people it has not seen
"""
