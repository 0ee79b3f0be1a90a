"""What does not allow commercial use: a method's own files, and the face packs whose embeddings they read.

Standard library only: scripts read it where there is no torch.
"""

from ..methods import Method, methods
from . import packs
from .manifest import Model, models


def own_files(method: Method) -> list[Model]:
    """The published files that are a method's own, without what they need beside them, such as another encoder."""
    # A format of the method's own is for one family of models; what is needed beside it is for any family.
    own = {entry.id for entry in method.formats if entry.family}
    return [model for model in models() if model.id in method.files and model.format in own]


def non_commercial(method: Method, model: Model) -> list[Model]:
    """Those of two models that do not allow commercial use: a method's own file, and the face pack that it needs.

    model: the file. The pack counts only where the method reads embeddings with a file of this format.
    """
    needed = [model]
    if method.reads_embeddings_with([model.format]):
        needed.append(packs.published_model(method.recogniser))
    return [entry for entry in needed if entry.commercial == "no"]


def note(format_id: str) -> str:
    """A line about a file of a method, by its format; "" where nothing forbids commercial use."""
    for method in methods():
        for model in own_files(method):
            if model.format == format_id:
                return _in_words(non_commercial(method, model))
    return ""


def _in_words(forbidden: list[Model]) -> str:
    """The line for these models, each with its licence; "" for no model."""
    named: list[str] = []
    for model in forbidden:
        title = f"its face pack {model.name}" if model.format == "face-pack" else model.title
        named.append(f"{title} ({model.licences[0].licence})")
    return f"Not for commercial use: {', '.join(named)}" if named else ""
