"""The pictures on which the workflows open, painted: six people, clothes, a pose.

canvas.py         smooth shapes, light and shadow
portraits.py      people, alone and together
garments.py       clothes, and pictures that somebody has painted in
ink.py            a picture as an ink drawing
"""

import rig  # noqa: F401 - by it the pack's core is found
