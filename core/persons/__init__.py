"""Single people: made of photos, checked, combined, blended, saved, and compared with faces."""

# pyright: reportUnusedImport=false

from .blending import BLENDS, blend
from .checks import photos_of, why_bad
from .combining import PHOTOS, EmbeddingMissing, combine, embeddings, from_faces, portraits
from .lookalikes import kin, kin_lines, look_alike
from .matching import assigned, in_common, known_by, shared_by_nature, similarities
from .saving import EXPECTED, check_format, from_tensors, not_a_person, to_tensors
