"""What each of our templates needs: the table that `python scripts/models.py write` makes of the workflows.

So no saved workflow is read here. Standard library only: scripts use this module where there is no torch yet.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..checks import records
from ..checks.errors import listed
from ..methods import methods
from .manifest import Model, models
from .workflow_needs import Chosen, own_file

PATH = Path(__file__).with_name("template_needs.json")
SINGLE = "single templates"
"""What `users` gives for a model that no method needs, where several workflows are looked at."""


@dataclass(frozen=True, kw_only=True)
class TemplateNeeds:
    """What a template needs.

    methods: folders of those that it uses. chosen: ids of the published models that its loaders have chosen. needed:
    those that its nodes need besides. without_recogniser: which of all these are face packs of which it needs the
    detector alone. own: model key -> names of files that nobody publishes, for which the user chooses theirs.
    """

    methods: Sequence[str] = ()
    chosen: Sequence[str] = ()
    needed: Sequence[str] = ()
    without_recogniser: Sequence[str] = ()
    own: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @property
    def ids(self) -> set[str]:
        """Of all published models that it needs."""
        return {*self.chosen, *self.needed}

    @property
    def models(self) -> tuple[Model, ...]:
        """As workflow_needs.wanted has them."""
        published = [self._as_needed(model) for model in models() if model.id in self.ids]
        return (*published, *(own_file(Chosen(key, name)) for key, names in self.own.items() for name in names))

    def _as_needed(self, model: Model) -> Model:
        files = model.files
        if model.id in self.without_recogniser:
            files = tuple(file for file in files if file.part != "recogniser")
        return replace(model, chosen=model.id in self.chosen, files=files)


def row(wanted: Sequence[Model], used: Sequence[str]) -> dict[str, Any]:
    """A template's row of the table. wanted: workflow_needs.wanted of it. used: folders of the methods in it."""
    own: dict[str, list[str]] = {}
    for model in wanted:
        if not model.id:
            own.setdefault(model.key, []).append(model.name)
    published = [model for model in wanted if model.id]
    whole = {model.id: model for model in models()}
    fields = {
        "methods": list(used),
        "chosen": [model.id for model in published if model.chosen],
        "needed": [model.id for model in published if not model.chosen],
        "without_recogniser": [model.id for model in published if model.files != whole[model.id].files],
        "own": own,
    }
    return {name: values for name, values in fields.items() if values}


@cache
def templates() -> dict[str, TemplateNeeds]:
    """Of each template, by the name of its file. Raises BadRecord."""
    table: Any = records.read(PATH)
    with records.made_of(PATH):
        return {name: TemplateNeeds(**fields) for name, fields in table.items()}


def users(workflows: Sequence[str], used: Collection[str]) -> Callable[[Model], str]:
    """A function: model -> what needs it, in words.

    The words are the titles of the uses that need the model, of the methods in these workflows. Where no use needs it,
    they are the name of the workflow, or SINGLE for several workflows.
    workflows: their names. used: folders of the methods in them. A use (method.json) needs the models that its template
    needs.
    """
    needed: dict[str, set[str]] = {}  # title of a use -> ids of the models that it needs
    for method in methods():
        if method.folder in used:
            needed |= {use.title: templates()[use.template].ids for use in method.uses}
    without_use = SINGLE if len(workflows) > 1 else listed(workflows)

    def users_of(model: Model) -> str:
        """What needs this model, in words."""
        titles = [title for title, ids in needed.items() if model.id in ids]
        return listed(titles, without_use)

    return users_of
