"""With empty model folders Check Model Files names all of its files; each template for it has its node."""

from collections.abc import Sequence
from pathlib import Path

from method_rows import applies_to
from pack.core.methods import Method
from pack.core.models import file_check, manifest, template_needs, workflow_needs
from pack.core.models.manifest import Model


def missing(wanted: Sequence[Model], folder: Path) -> set[str]:
    """Ids of what the check does not find."""
    folders = {model.key: [str(folder)] for model in manifest.models()}
    return {model.id for model in file_check.models_to_fetch(wanted, folders)}


@applies_to(lambda method: bool(method.files), "It has no file of its own.")
def test_each_of_its_files_is_named(method: Method, tmp_path: Path) -> None:
    loaders = {
        "controlnet": ("ControlNetLoader", "control_net_name"),
        "parts2whole": ("LikenessLoadParts2Whole", "folder"),
    }
    assert method.files
    for file in method.files:
        model = manifest.model(file)
        kind, name = loaders.get(model.key, ("LikenessLoadAdapter", "file"))
        graph = {
            "1": {"class_type": kind, "inputs": {name: model.name}},
            "2": {"class_type": method.applies, "inputs": {}},
        }
        assert file in missing(workflow_needs.wanted(graph), tmp_path), model.name


def test_each_template_has_its_node_and_lacks_its_files(method: Method, tmp_path: Path) -> None:
    """A method without files of its own lacks models of the host's."""
    assert method.uses
    for use in method.uses:
        template = template_needs.templates()[use.template]
        assert method.folder in template.methods, use.template
        lacking = missing(template.models, tmp_path)
        assert lacking & {*method.files} if method.files else lacking, use.template
