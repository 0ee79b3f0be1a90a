"""The families of diffusion transformers, a file for each: what the pack needs to know of its network in the host.

docs/dev/add_a_family.md says how to add one.
"""

from .anima import ANIMA
from .chroma import CHROMA
from .flux import FLUX
from .flux_2 import FLUX_2
from .ideogram_4 import IDEOGRAM_4
from .joyimage import JOYIMAGE
from .krea_2 import KREA_2
from .mage_flow import MAGE_FLOW
from .qwen import QWEN, QWEN_LAYERED
from .without_regions import BOOGU, OMNIGEN_2, QWEN_2_1
from .z_image import Z_IMAGE, Z_IMAGE_PIXELS

TRANSFORMERS = FLUX, FLUX_2, QWEN, Z_IMAGE, KREA_2, MAGE_FLOW, CHROMA, IDEOGRAM_4, ANIMA, JOYIMAGE
RELATIVES = QWEN_LAYERED, Z_IMAGE_PIXELS
"""Networks of which all of a description is so but how they are given reference pictures."""
WITHOUT_REGIONS = QWEN_2_1, OMNIGEN_2, BOOGU
"""How models are given reference pictures whose networks are not described."""
