"""The lessons of the miniature, one a file: what a part sees and draws, and what an error costs.

A part that has learned stays as it is: from what the patch projection says of a photo the cartoons are drawn.

lesson.py        what a lesson is
autoencoder.py   pixels to latents and back
projections.py   photos to looks
networks.py      looks and places to a picture: ID-Patch
parts2whole.py   pictures of parts to the person who wears them
sharing.py       the same, with a UNet that is its own reference
instant_id.py    a face and keypoints to a picture
diffusion.py     noise and its levels, for the last four
cartoons.py      drawn people with what an error costs in each cell
outfits.py       drawn outfits with the pictures of their parts
"""

from . import autoencoder, instant_id, networks, parts2whole, projections, sharing

LESSONS = {
    "autoencoder": autoencoder.LESSON,
    "projections": projections.LESSON,
    "networks": networks.LESSON,
    "parts2whole": parts2whole.LESSON,
    "sharing": sharing.LESSON,
    "instant_id": instant_id.LESSON,
}
"""In the order in which they are learned."""
