"""What is typed into a box of a template or blueprint is what it shows and what is sent, whatever is done in between.

Every value on every box is changed with mouse and keyboard, and looked at again after each of: another tab and back,
a paste, an undo, an export and import, saving and opening the page anew.
"""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import templates
from browser.fixtures import newest_often, once_of_each, own_often
from browser.subgraph_node import WINDOW, SubgraphNode, Value
from browser.visit import Visit
from shared import workflow

pytestmark = [pytest.mark.browser, pytest.mark.both_hosts]
# One with every kind of value, and a blueprint.
USUAL, BLUEPRINT = "start_portrait", "Group photo, couple, family, friends"

Typed = list[dict[str, Any]]
"""Of every box, by the names of its values, what is sent."""


def put_down(visit: Visit, path: Path) -> None:
    """A template as from the gallery, a blueprint as from the list of nodes."""
    graph = workflow.load(path)
    for node in graph["nodes"]:
        node["mode"] = 0  # of what is off nothing is sent
    if path.parent.name == "workflows":
        visit.page.evaluate(
            "([graph, name]) => app.loadGraphData(graph, true, true, name, {openSource: 'template'}).then(() => true)",
            [graph, path.stem],
        )
    else:
        visit.page.evaluate("app.graph.clear()")
        visit.canvas.put_down_blueprint(graph)
    visit.canvas.settle()
    visit.close_dialogs()


def seen(visit: Visit, when: str = "opened") -> Typed:
    """What the boxes show. Fails where something else is sent."""
    prompt = visit.canvas.prompt()
    typed: Typed = []
    for box in visit.subgraph_nodes():
        values = box.values(prompt)
        for name, value in values.items():
            assert is_sent_as_shown(value), f"{when}: {name} shows {value.shown!r} and sends {value.sent!r}"
        typed.append({name: value.sent[0] for name, value in values.items()})
    return typed


def is_sent_as_shown(value: Value) -> bool:
    return bool(value.sent) and all(same(value.shown, sent_value) for sent_value in value.sent)


def same(shown_value: Any, sent_value: Any) -> bool:
    """As a number where it is sent as one: it may be shown as 5.0."""
    if isinstance(sent_value, int | float) and not isinstance(sent_value, bool):
        return float(shown_value) == pytest.approx(sent_value)
    return str(shown_value).strip() == str(sent_value).strip()


def typed_of(boxes: Typed, typed: Typed) -> Typed:
    """Without values that a copy has because its links are gone."""
    typed_values: Typed = []
    for box, names in zip(boxes, typed, strict=True):
        typed_values.append({name: box[name] for name in names})
    return typed_values


def kinds(visit: Visit) -> list[Any]:
    """Of every box the types of its values, and what there is to choose from."""
    return [box.kinds() for box in visit.subgraph_nodes()]


def type_all(visit: Visit) -> Typed:
    """Another value everywhere, by keyboard and mouse; what is sent then. A list of one file has no other."""
    before = seen(visit)
    boxes = visit.subgraph_nodes()
    changeable = [box.changeable() for box in boxes]
    for box, names in zip(boxes, before, strict=True):
        type_into(box, list(names))
    visit.canvas.settle()
    visit.canvas.note_change()
    typed = seen(visit, "typed")
    for old, new, names in zip(before, typed, changeable, strict=True):
        unchanged = [name for name in old if name in names and old[name] == new[name]]
        assert unchanged == []
    return typed


def type_into(box: SubgraphNode, names: list[str]) -> None:
    box.bring_into_view()
    for name in names:
        box.change(name)


FILES = {path.stem: path for path in (*templates.FILES, *templates.BLUEPRINTS)}


@pytest.mark.parametrize("name", [USUAL, pytest.param(BLUEPRINT, marks=pytest.mark.thorough)])
@newest_often
def test_what_is_typed_is_shown_and_sent_whatever_is_done_in_between(visit: Visit, name: str) -> None:
    type_and_look_again(visit, FILES[name])


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(FILES.keys() - {USUAL, BLUEPRINT}))
@once_of_each
def test_what_is_typed_into_any_file_is_shown_and_sent(visit: Visit, name: str) -> None:
    type_and_look_again(visit, FILES[name])


def type_and_look_again(visit: Visit, path: Path) -> None:
    if path.parent.name == "subgraphs" and visit.server.host.version < (0, 33):
        pytest.skip("this ComfyUI reads no blueprints")
    templates.skip_unless_known(path, visit.server.object_info())
    visit.resize(*WINDOW)
    put_down(visit, path)
    typed = type_all(visit)
    kinds_before = kinds(visit)

    go_to_another_tab_and_back(visit)
    assert seen(visit, "another tab and back") == typed

    visit.canvas.copy_and_paste(visit.subgraph_nodes(), 0, 3000)
    visit.canvas.settle()
    visit.canvas.note_change()
    copies = seen(visit, "pasted")
    assert typed_of(copies[: len(typed)], typed) == typed
    assert typed_of(copies[len(typed) :], typed) == typed, "a copy of each"

    visit.canvas.undo()
    assert seen(visit, "undone") == typed

    save(visit)
    visit.open()
    await_boxes(visit, len(typed))
    assert seen(visit, "saved, and the page opened anew") == typed

    export_and_import(visit)
    await_boxes(visit, len(typed))
    assert seen(visit, "exported and imported") == typed
    assert kinds(visit) == kinds_before


def await_boxes(visit: Visit, count: int) -> None:
    visit.await_true(lambda: len(visit.subgraph_nodes()) == count, message=f"{count} boxes.")
    visit.canvas.settle()


def go_to_another_tab_and_back(visit: Visit) -> None:
    """Older editors keep the tabs twice, one row out of sight."""
    tabs = visit.page.locator(".workflow-tab").filter(visible=True)
    place = visit.page.evaluate("""() => {
        const {openWorkflows, activeWorkflow} = app.extensionManager.workflow;
        return openWorkflows.indexOf(activeWorkflow);
    }""")
    another = place - 1 if place else tabs.count() - 1
    for number in (another, place):
        tabs.nth(number).dispatch_event("click")
        visit.canvas.settle()


def export_and_import(visit: Visit) -> None:
    visit.page.evaluate("""async () => {
        const {workflow} = await app.graphToPrompt();
        await app.loadGraphData();
        await app.handleFile(new File([JSON.stringify(workflow)], 'mine.json', {type: 'application/json'}));
    }""")


def save(visit: Visit) -> None:
    """As Ctrl+S, under a name of its own."""
    visit.page.evaluate("void app.extensionManager.command.execute('Comfy.SaveWorkflow')")
    field = visit.page.locator("[role=dialog] input[type=text]").first
    field.fill(uuid.uuid4().hex)
    field.press("Enter")
    visit.await_true(lambda: is_saved(visit), message="The workflow is saved.")


def is_saved(visit: Visit) -> bool:
    return visit.page.evaluate("""() => {
        const {isPersisted, isModified} = app.extensionManager.workflow.activeWorkflow;
        return isPersisted && !isModified;
    }""")


@own_often
def test_boxes_of_other_packs_are_left_alone(visit: Visit) -> None:
    """Links inside of our boxes are numbered as the editor has the inputs, whatever numbers the file has; those of
    another pack stay as they are."""

    def opened(saved: str) -> Any:
        return visit.page.evaluate(
            """graph => {
                app.extensions.find(({name}) => name === 'likeness.box_links').beforeConfigureGraph(graph);
                return graph;
            }""",
            json.loads(saved),
        )

    graph = workflow.load(templates.ROOT / "workflows" / f"{USUAL}.json")
    (subgraph,) = graph["definitions"]["subgraphs"]
    (box,) = (node for node in graph["nodes"] if node["type"] == subgraph["id"])
    inside = {node["id"] for node in subgraph["nodes"]}
    ours_as_saved = json.dumps(graph)
    for link in subgraph["links"]:
        if link["target_id"] in inside:
            link["target_slot"] += 20
    exported = json.dumps(graph)
    box["properties"]["cnr_id"] = "another"
    theirs_as_saved = json.dumps(graph).replace('"Likeness', '"Another')
    numbered = opened(exported)
    assert numbered == opened(ours_as_saved)
    assert numbered != json.loads(exported)
    assert opened(theirs_as_saved) == json.loads(theirs_as_saved)
