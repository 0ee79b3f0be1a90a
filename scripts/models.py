"""The model files: what there is, what is missing, and where it comes from.

    python scripts/models.py list
    python scripts/models.py check start_two_people
    python scripts/models.py download start_two_people
    python scripts/models.py write --check

A workflow is a template, by its title or by its file in workflows/, or the path of a file that ComfyUI saved, also of a
picture with its workflow in it. Models lie in the ComfyUI that is found, or in --models. `check` says which models of
a workflow are missing, damaged or in the wrong place. It changes nothing. Its exit code is 0 where all are there, 1
where something is to be done, 2 where it could not look: there is no such workflow, or no ComfyUI. Run it with the
Python that runs ComfyUI. `download` needs huggingface_hub; tokens are huggingface_hub's (HF_TOKEN, or `hf auth login`),
mirrors named by HF_ENDPOINT and GITHUB_ENDPOINT. `write` renews what is made from models_manifest.json, the records and
the descriptions of model families: tables in README and docs/, the gallery's models, what templates need, the workflows
and the blueprints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

# ComfyUI portable's Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
sys.path.insert(0, str(Path(__file__).absolute().parent))

import environment
from environment import ROOT, SetupError
from shared import families_table, host_folders, workflow_files
from shared.arguments import path_of
from shared.choices import as_prompt
from shared.workflow import nodes_in, offered

from core.checks.errors import LikenessError, counted
from core.checks.text import as_typed
from core.methods import Method
from core.methods import methods as records
from core.models import licences, manifest, template_needs, workflow_needs
from core.models.manifest import Model

WORKFLOWS = ROOT / "workflows"
BLUEPRINTS = ROOT / "subgraphs"
README_WORDS = ROOT / "scripts" / "shared" / "readme.json"
_README: dict[str, Any] = json.loads(README_WORDS.read_bytes())
"""What README's tables have beside the manifest and the records.

start: template -> what it is for, and the method that it shows. in the start: folders of these methods.
base models: folder of a method -> its models, where it takes only some of its families. zh: the words of the tables in
Chinese.
"""
READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh.md"}
PAGE = ROOT / "docs" / "models.md"
GALLERY = ROOT / "locales" / "en" / "main.json"
IN_GALLERY = {
    "FLUX.1": "Flux.1",
    "FLUX.2": "Flux.2 Klein",
    "Qwen-Image": "Qwen-Image-Edit",
    "Qwen-Image 2.1": "Qwen-Image",
    "Z-Image": "Z-Image-Turbo",
}
"""Family -> what ComfyUI's gallery calls those models of it that our templates load, where that is another word."""
ALSO_IN_GALLERY = {"FLUX.1": ("pulid_two_people",)}
"""Family -> templates that load no model of it, but whose note says how to take one."""
WHICH_METHOD = ROOT / "docs" / "which_method.md"
ALL_THERE, TO_DO, NOT_EXAMINED = 0, 1, 2
"""Exit codes of `check`."""


def main() -> int:
    arguments = parsed_arguments()
    try:
        require_manifest()
        return arguments.run(arguments)
    except SetupError as problem:
        if arguments.run is not check:
            raise
        environment.say(str(problem))
        return NOT_EXAMINED


def parsed_arguments() -> argparse.Namespace:
    """The arguments of this run, with the function of the command in `run`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    folder = "a models folder; default: that of the ComfyUI that is found"

    listing = commands.add_parser("list", help="every model file, and the templates that need it")
    listing.set_defaults(run=show_list)

    examination = commands.add_parser("check", help="what of a workflow's models is missing, damaged or misplaced")
    examination.add_argument("workflow", metavar="WORKFLOW", help="a template's name, or the file of a workflow")
    examination.add_argument("--models", type=path_of, metavar="DIR", help=folder)
    examination.set_defaults(run=check)

    downloading = commands.add_parser("download", help="fetch what workflows need")
    downloading.add_argument("names", nargs="+", metavar="workflow or id", help="see `list`")
    downloading.add_argument("--yes", action="store_true", help="do not ask")
    downloading.add_argument("--models", type=path_of, metavar="DIR", help=folder)
    downloading.set_defaults(run=download)

    writing = commands.add_parser("write", help="renew what is made from the manifest and the records")
    writing.add_argument("--check", action="store_true", help="change nothing, fail if outdated")
    writing.set_defaults(run=write)
    return parser.parse_args()


def require_manifest() -> None:
    """Raises SetupError where models_manifest.json is damaged."""
    try:
        manifest.models()
    except LikenessError as damaged:
        raise SetupError(str(damaged)) from damaged


def used() -> dict[str, tuple[Model, ...]]:
    """Workflow -> the models it needs."""
    return {path.stem: workflow_needs.published(prompt_of(path.stem)) for path in sorted(WORKFLOWS.glob("*.json"))}


def show_list(given: argparse.Namespace) -> int:
    workflows = used()
    for model in manifest.models():
        print(f"{model.id:40} {model.size_text:24} commercial use: {model.commercial:24} {model.title}")
        names = [name for name, needed in workflows.items() if model in needed]
        if names:
            print(f"{'':40} {', '.join(names)}")
    return 0


def prompt_of(name: str) -> Mapping[str, Any]:
    """What the nodes of a workflow have chosen: of ours by name, or of any by its path. Raises SetupError."""
    try:
        prompt = as_prompt(read_workflow(name))
    except ValueError as error:
        raise SetupError(f"{name} is no workflow: {error}. Save it again in ComfyUI.") from error
    except LikenessError as error:
        raise SetupError(str(error)) from error
    if not prompt:
        raise SetupError(f"{name} is no workflow: there is no node in it that would run. Save it again in ComfyUI.")
    return prompt


def read_workflow(name: str) -> dict[str, Any]:
    """A workflow of ours by name, or any by its path. Raises SetupError."""
    return workflow_files.read(workflow_files.named(name))


# --- Check


def check(arguments: argparse.Namespace) -> int:
    """Say what of a workflow's models is missing, damaged or misplaced; ALL_THERE or TO_DO.

    Raises SetupError where that cannot be looked for.
    """
    name: str = arguments.workflow
    prompt = prompt_of(name)
    try:
        wanted = workflow_needs.wanted(prompt)
    except LikenessError as error:
        raise SetupError(str(error)) from error
    folders = host_folders.searched(arguments.models, keys_of(wanted))
    try:
        from core.models.file_check import gone, report  # imports torch, which takes seconds
    except ImportError as error:
        raise SetupError(f"This needs {error.name}: run it with the Python that runs ComfyUI.") from error

    nodes_gone = gone(workflow_needs.gone(prompt))
    users = template_needs.users([name], workflow_needs.methods_in(prompt))
    diagnosis = report(name, wanted, folders, nodes_gone, users=users)
    print(diagnosis.text())
    if not diagnosis.to_fix:
        return ALL_THERE
    if diagnosis.lacking:
        command = f"{environment.script_command('models.py')} download {as_typed(name)}"
        if arguments.models:
            command += f" --models {as_typed(arguments.models)}"
        print(f"\nOr download all of this with: {command}")
    return TO_DO


def keys_of(models: Iterable[Model]) -> list[str]:
    """The keys of all folders in which these models are looked for, and of all that are published."""
    keys: list[str] = []
    for model in (*manifest.models(), *models):
        keys += [model.key, *model.further]
    return list(dict.fromkeys(keys))


# --- Download


def download(given: argparse.Namespace) -> int:
    """Exit status 1 where something did not come; what came stays."""
    wanted = chosen(given.names)
    folders = host_folders.searched(given.models, keys_of([]))
    if given.models is None:
        host_folders.require_lasting(folders)
    return fetched(wanted, folders, given.yes)


def chosen(names: Iterable[str]) -> tuple[Model, ...]:
    """Models by their ids, and those that workflows need."""
    known = {model.id: (model,) for model in manifest.models()}
    return tuple(
        dict.fromkeys(m for name in names for m in known.get(name) or workflow_needs.published(prompt_of(name)))
    )


def missing(workflow: str, folders: Mapping[str, Sequence[str]]) -> list[str]:
    """The models that a workflow needs and of which nothing is in its place."""
    from core.models.file_check import models_to_fetch

    return [model.title for model in models_to_fetch(chosen([workflow]), folders)]


def not_there(models: Iterable[Model], folders: Mapping[str, Sequence[str]]) -> list[Model]:
    """The models of which no folder has a file; the others are said."""
    places = {Path(place) for several in folders.values() for place in several}
    if not any(path.is_file() for place in places for path in place.rglob("*")):
        return list(models)  # a fresh folder: without torch, which takes seconds to import
    try:
        from core.models.file_check import examine
    except ImportError:  # a Python without torch; what is in the first folder is not fetched anyway
        return list(models)
    from core.models.file_findings import FOUND, MISPLACED, RENAMED
    from core.models.model_folders import Folders

    lacking: list[Model] = []
    for model in models:
        finding = examine(model, Folders(folders))
        if finding.state in (FOUND, RENAMED, MISPLACED):
            environment.say(f"{model.title} is there already: {finding.detail}")
        else:
            lacking.append(model)
    return lacking


def fetched(models: Sequence[Model], folders: Mapping[str, Sequence[str]], yes: bool) -> int:
    """Show what would come, ask, and fetch it."""
    if not models:
        environment.say("Nothing of what is published is needed.")
        return 0
    models = not_there(models, folders)
    if not models:
        return 0
    for model in models:
        print(f"{model.title}: {model.size_text}, into {folders[model.key][0]}. Commercial use: {model.commercial}.")
        print("".join(f"    {one.licence} ({one.source})\n" for one in model.licences), end="")
        print(f"    {model.page}")
    print(f"In all: {manifest.together(models)}.")
    from shared import fetch  # says which package it lacks, before anything is asked

    if not yes and not sys.stdin.isatty():
        environment.say("There is no terminal to ask in: add --yes if you accept these licences.")
        return 1
    if not yes and input("Download this, and accept these licences? [y/N] ").strip().lower() not in ("y", "yes"):
        return 1
    problems = [problem for model in models if (problem := fetch.fetch_model(model, Path(folders[model.key][0])))]
    for problem in problems:
        environment.say(problem)
    environment.say(f"Done: {len(models) - len(problems)} of {counted(len(models), 'model')} came.")
    return int(bool(problems))


# --- What is made from the manifest


def write(given: argparse.Namespace) -> int:
    """Renew the tables of README and docs, and the workflows' offers; names what has changed."""
    changed = {path: text for path, text in made().items() if not path.is_file() or path.read_text("utf-8") != text}
    for path, text in changed.items():
        print(path.relative_to(ROOT))
        if not given.check:
            path.write_bytes(text.encode())
    if not given.check:
        environment.say(f"Done: wrote {counted(len(changed), 'file')}. All others were up to date.")
    return int(bool(changed) and given.check)


def entry(model: Model) -> dict[str, Any]:
    """A model as the manifest has it: without what only a workflow says of it."""
    fields = asdict(model)
    del fields["chosen"], fields["further"]
    return fields


def made() -> dict[Path, str]:
    """Path -> text of every file with something from the manifest in it, as it should be."""
    files = {manifest.PATH: as_json({"models": [entry(model) for model in manifest.models()]})}
    for language, path in READMES.items():
        text = filled(path.read_text("utf-8"), "start", start(language))
        files[path] = filled(text, "others", other_methods(language), "the records")
    families = filled(WHICH_METHOD.read_text("utf-8"), "families", abilities(), "the descriptions of the families")
    files[WHICH_METHOD] = families
    files[PAGE] = filled(filled(PAGE.read_text("utf-8"), "table", table()), "templates", downloads())
    files[GALLERY] = as_json(json.loads(GALLERY.read_bytes()) | {"likenessTemplateModels": gallery_models()})
    files[template_needs.PATH] = needs_of_templates()
    graphs = [*sorted(WORKFLOWS.glob("*.json")), *sorted(BLUEPRINTS.glob("*.json"))]
    return files | {path: workflow(path.read_text("utf-8")) for path in graphs}


def needs_of_templates() -> str:
    """What Check Model Files knows of templates, one a line."""
    lines: list[str] = []
    for path in sorted(WORKFLOWS.glob("*.json")):
        prompt = prompt_of(path.stem)
        row = template_needs.row(workflow_needs.wanted(prompt), workflow_needs.methods_in(prompt))
        lines.append(f"  {json.dumps(path.stem)}: {json.dumps(row)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def filled(text: str, name: str, made_of: str, source: str = "models_manifest.json") -> str:
    begin, end = f"<!-- models {name}: from {source} -->\n", f"<!-- models {name} end -->"
    head, rest = text.split(begin)
    return f"{head}{begin}{made_of}{end}{rest.split(end)[1]}"


def worded(text: str, language: str) -> str:
    """A word of README's tables, or several after commas, in a language."""
    known = {} if language == "en" else _README["zh"]
    return known.get(text) or known.get(", ", ", ").join(known.get(part, part) for part in text.split(", "))


def rows(language: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [[worded(name, language) for name in head], ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def gallery_models() -> dict[str, str]:
    """What the gallery's filter calls a family -> its templates.

    These load a model of it, also in a part that is off, or their note says how to take one.
    """
    base = [model for model in manifest.models() if model.family and model.key in ("checkpoints", "diffusion_models")]
    templates: dict[str, list[str]] = {}
    for name in workflow_files.titles("en"):
        nodes = nodes_in(read_workflow(name))
        loaded = {offer["name"] for node in nodes for offer in node["properties"].get("models", ())}
        in_note = {family for family, names in ALSO_IN_GALLERY.items() if name in names}
        for family in {model.family for model in base if model.name in loaded} | in_note:
            templates.setdefault(IN_GALLERY.get(family, family), []).append(name)
    return {family: " ".join(names) for family, names in sorted(templates.items())}


def start(language: str) -> str:
    """What one wants, the method and the template for it, and how much that is to download."""
    gallery = workflow_files.titles(language)
    workflows = used()
    body: list[Sequence[str]] = []
    for name, wish in _README["start"].items():
        size = download_size(workflows[name], language)
        body.append((wish[language], worded(wish["method"], language), gallery[name], size))
    return rows(language, ("I want", "method", "template", "download"), body)


def download_size(of_workflow: Iterable[Model], language: str) -> str:
    """The sum of the files' sizes; where one is not known, "at least" that of the others."""
    sizes = [model.size for model in of_workflow]
    # One decimal, as the notes of the templates and the message of missing files have it.
    size = f"{round(sum(size or 0 for size in sizes) / 1e9, 1):g} GB"
    return f"{worded('at least', language)} {size}" if None in sizes else size


def downloads() -> str:
    """The files of each template and how much they are to download; templates with the same files are one row."""
    workflows = used()
    templates: dict[tuple[Model, ...], list[str]] = {}
    for name, title in workflow_files.titles("en").items():
        if workflows[name]:
            templates.setdefault(workflows[name], []).append(f"*{title}*")
    body: list[Sequence[str]] = []
    for models_of_row, names in templates.items():
        files = ", ".join(model.title.split(" (")[0] for model in models_of_row)  # without what it is for
        body.append((", ".join(names), files, download_size(models_of_row, "en")))
    return rows("en", ("template", "files", "download"), body)


def other_methods(language: str) -> str:
    """A row per method beside those that README begins with, from the records."""
    body: list[Sequence[str]] = []
    for record in records():
        if record.folder in _README["in the start"]:
            continue
        page = f"web/docs/{record.applies}"
        title = f"[{record.title}]({page}{'.md' if language == 'en' else '/zh.md'})"
        called = _README["base models"].get(record.folder, {})  # where only some models of a family can
        families = [called.get(family, family) for family in record.families]
        body.append((title, record.good_for[language], ", ".join(families), worded(commercial_use(record), language)))
    return rows(language, ("method", "use", "base model", "commercial use"), body)


def commercial_use(record: Method) -> str:
    """What licences say of a method's own files, each with the pack of the recogniser whose embeddings it reads.

    What a file of its own needs beside it, for any family of models as EVA-CLIP, allows nothing.
    """
    answers: set[str] = set()
    for model in licences.own_files(record):
        answers.add("no" if licences.non_commercial(record, model) else model.commercial)
    if not answers:
        return "as the model"
    return answers.pop() if len(answers) == 1 else "by the file"


def abilities() -> str:
    """The table of what can be done on each family of models."""
    return rows("en", families_table.HEAD, [families_table.cells(row) for row in families_table.abilities()])


def table() -> str:
    head = "| what | file and folder | from | size | licence | commercial use |\n|---|---|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(_row(model))} |\n" for model in manifest.models())


def _row(model: Model) -> tuple[str, ...]:
    files = model.files if model.format == "face-pack" else model.files[:1]
    names = [file.names[0] for file in files] if len(model.files) < 3 else [f"{model.name}/"]
    where = ", ".join(f"`{model.key}/{name}`" for name in names)
    others = f"; {', '.join(model.alternatives)}" if model.alternatives else ""
    licences = "; ".join(f"{one.licence} ({one.source})" for one in model.licences)
    link = f"[{model.archive.names[0].split('/')[-1] if model.archive else model.repository}]({model.page})"
    if len(model.fetched) == 1:
        link += f", [download]({model.url})"
    return model.title, where + others, link, model.size_text, licences, model.commercial


def workflow(text: str) -> str:
    """The file with the offers of the manifest: only the lists called models are touched."""
    graph, before = json.loads(text), json.loads(text)
    for node in nodes_in(graph):
        values = node.get("widgets_values") or []
        offers = [offer for model in manifest.models() if model.name in values and (offer := offered(model))]
        if offers:
            node["properties"]["models"] = offers
    return text if graph == before else as_json(graph)


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    environment.run(main)
