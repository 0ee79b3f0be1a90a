"""The pictures on which the workflows open, painted: people, clothes, a pose. Charts, previews and icons, drawn.

canvas.py         smooth shapes, light and shadow
looks.py          who is painted
faces.py          heads
portraits.py      people, alone and together
garments.py       clothes, and pictures that somebody has painted in
ink.py            a picture as an ink drawing
album.py          which pictures there are, and their names
help_pages.py     previews of nodes on the help pages
speed_chart.py    the chart of docs/speed.md
icons/            the icons of the templates
sources.py        which command makes which picture of the repository
"""

import rig  # noqa: F401 - by it the pack's core is found
