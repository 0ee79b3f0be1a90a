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
from rig import workflow
from visits import Visit, once_of_each

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.both_hosts]
# One with every kind of value; one with a preview on a box, and a blueprint.
WINDOW = (1280, 1440)
"""High enough for every line of the tallest box, First picture of eight people: what lies below cannot be clicked."""
USUAL, CLASSIC = "start_portrait", ("id_patch_two_people", "Group photo")

Typed = list[dict[str, Any]]


def put_down(visit: Visit, path: Path) -> None:
    """A template as from the gallery, a blueprint as from the list of nodes."""
    graph = workflow.load(path)
    for node in graph["nodes"]:
        node["mode"] = 0  # of what is off nothing is sent
    if path.parent.name == "workflows":
        named = f"true, true, {json.dumps(path.stem)}, {{openSource: 'template'}}"
        visit.page.evaluate(f"app.loadGraphData({json.dumps(graph)}, {named})")
    else:
        visit.page.evaluate("app.graph.clear()")
        visit.page.ask("putDown", graph)
    visit.page.ask("settled")
    visit.page.ask("closeDialogs")


def seen(visit: Visit, when: str = "opened") -> Typed:
    """What the boxes show. Fails where something else is sent."""
    boxes = visit.page.ask("values")
    values = ((name, shown, sent) for box in boxes for name, (shown, *sent) in box.items())
    differ = [(name, shown, sent) for name, shown, sent in values if not sent or not all(same(shown, x) for x in sent)]
    assert differ == [], f"{when}: name, shown, sent"
    return [{name: sent[0] for name, (_, *sent) in box.items()} for box in boxes]


def same(shown: Any, sent: Any) -> bool:
    """As a number where it is sent as one: it may be shown as 5.0."""
    if isinstance(sent, int | float) and not isinstance(sent, bool):
        return float(shown) == pytest.approx(sent)
    return str(shown).strip() == str(sent).strip()


def typed_of(boxes: Typed, typed: Typed) -> Typed:
    """Without values that a copy has because its links are gone."""
    return [{name: box[name] for name in names} for box, names in zip(boxes, typed, strict=True)]


def type_all(visit: Visit) -> Typed:
    """Another value everywhere, by keyboard and mouse; what is sent then. A list of one file has no other."""
    before, others = seen(visit), visit.page.ask("others")
    for number, box in enumerate(before):
        lines = visit.page.ask("bring", number)
        for name in box:
            if visit.page.ask("field", number, name):
                visit.page.call("Input.insertText", text=f"typed into {name}")
            elif visit.vue:
                visit.page.ask("choose", number, name)
            elif others[number][name]:
                type_on_canvas(visit, number, name, *lines[name])
    visit.page.ask("settled")
    visit.page.ask("noted")
    typed = seen(visit, "typed")
    for old, new, other in zip(before, typed, others, strict=True):
        assert not [name for name in old if other[name] and old[name] == new[name]]
    return typed


def type_on_canvas(visit: Visit, number: int, name: str, left: float, right: float, y: float) -> None:
    """By the arrows at both ends of the line, or in the dialog that a click on it opens.

    To a frontend a press is a drag and no click where a movement follows it after more than 0.15 s. Chromium reports
    movements by itself where a page has computed so long between press and release. So whoever sees no change clicks
    again.
    """
    assert y < WINDOW[1], f"{name} lies below the window and cannot be clicked"
    before = visit.page.ask("valueOf", number, name)
    for _ in range(3):
        for x in (right - 25, left + 25):
            if visit.page.ask("valueOf", number, name) != before:
                return
            visit.page.click(x, y)
            if visit.page.ask("dialog"):
                visit.page.call("Input.insertText", text="typed in a dialog")
                visit.page.press_enter()


def usual(path: Path) -> Any:
    """The file as a parameter, with the runs in which it is tried."""
    marks: list[Any] = []
    if path.stem in CLASSIC:
        marks.append(pytest.mark.thorough_with("with Vue nodes"))
    elif path.stem != USUAL:
        marks += [pytest.mark.thorough, once_of_each]
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.fixture(params=map(usual, [*templates.FILES, *templates.BLUEPRINTS]))
def put(request: pytest.FixtureRequest, visit: Visit) -> Path:
    """A file that is open, in a tab of its own."""
    path = request.param
    if path.parent.name == "subgraphs" and visit.server.host.version < (0, 33):
        pytest.skip("this ComfyUI reads no blueprints")
    templates.skip_unless_known(path, visit.server.object_info())
    visit.page.resize(*WINDOW)
    put_down(visit, path)
    return path


def test_what_is_typed_is_shown_and_sent_whatever_is_done_in_between(put: Path, visit: Visit) -> None:
    page, typed = visit.page, type_all(visit)
    kinds = page.ask("kinds")

    page.ask("anotherTab")
    assert seen(visit, "another tab and back") == typed

    page.ask("copyBoxes")
    copies = seen(visit, "pasted")
    assert typed_of(copies[: len(typed)], typed) == typed
    assert typed_of(copies[len(typed) :], typed) == typed, "a copy of each"

    page.ask("undo", False)  # pasting is noted
    assert seen(visit, "undone") == typed

    save(visit)
    visit.open()
    page.wait(f"visitor.boxes() == {len(typed)}")
    page.ask("settled")
    assert seen(visit, "saved, and the page opened anew") == typed

    page.ask("exportAndImport")
    page.wait(f"visitor.boxes() == {len(typed)}")
    page.ask("settled")
    assert seen(visit, "exported and imported") == typed
    assert page.ask("kinds") == kinds


def save(visit: Visit) -> None:
    """As Ctrl+S, under a name of its own."""
    visit.page.evaluate("void app.extensionManager.command.execute('Comfy.SaveWorkflow')")
    field = "document.querySelector('[role=dialog] input[type=text]')"
    visit.page.wait(f"!!{field}")
    visit.page.evaluate(f"{field}.focus(); {field}.select()")
    visit.page.call("Input.insertText", text=uuid.uuid4().hex)
    visit.page.press_enter()
    visit.page.wait("visitor.isSaved()")


@pytest.mark.thorough_with("newest")
def test_boxes_of_other_packs_are_left_alone(visit: Visit) -> None:
    """Links inside of our boxes are numbered as the editor has the inputs, whatever numbers the file has; those of
    another pack stay as they are."""

    def opened(saved: str) -> Any:
        hook = "app.extensions.find(({name}) => name === 'likeness.box_links').beforeConfigureGraph"
        return visit.page.evaluate(f"(graph => {{ {hook}(graph); return graph }})({saved})")

    graph = workflow.load(templates.ROOT / "workflows" / f"{USUAL}.json")
    (subgraph,) = graph["definitions"]["subgraphs"]
    (box,) = (node for node in graph["nodes"] if node["type"] == subgraph["id"])
    inside = {node["id"] for node in subgraph["nodes"]}
    ours = json.dumps(graph)
    for link in subgraph["links"]:
        if link["target_id"] in inside:
            link["target_slot"] += 20
    exported = json.dumps(graph)
    box["properties"]["cnr_id"] = "another"
    theirs = json.dumps(graph).replace('"Likeness', '"Another')
    numbered = opened(exported)
    assert numbered == opened(ours) and numbered != json.loads(exported)
    assert opened(theirs) == json.loads(theirs)
