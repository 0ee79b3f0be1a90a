"""What is typed into a box of a template or blueprint is what it shows and what is sent, whatever is done in between.

Every value on every box is changed with mouse and keyboard, and looked at again after each of: another tab and back,
a paste, an undo, an export and import, saving and opening the page anew.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import templates
from rig import workflow
from visits import Graph, Visit

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.both_hosts]
# One with every kind of value; one with a preview on a box, and a blueprint.
USUAL, CLASSIC = "start_portrait", ("id_patch_two_people", "Group photo")

# In the order of their numbers: a click brings a node to the front.
BOXES = "(app.rootGraph ?? app.graph)._nodes.filter(node => node.subgraph).sort((one, other) => one.id - other.id)"
# Of every box, by the names of its values: what is shown, and what is sent to each input inside.
STATE = f"""(async () => {{
  const {{output}} = await app.graphToPrompt();
  const shown = (box, name) => {{
    const row = document.querySelector(`[data-node-id="${{box.id}}"] [data-widget-name="${{name}}"]`);
    const field = row?.querySelector('textarea, input');
    if (row) return field ? field.value : row.querySelector('[role=combobox]').innerText;
    const widget = box.widgets.find(widget => widget.name === name);
    return widget.element?.value ?? widget.value;
  }};
  const sent = (box, name) => box.subgraph.inputs.find(slot => slot.name === name).linkIds.flatMap(id => {{
    const {{target_id, target_slot}} = box.subgraph.getLink(id);
    const input = box.subgraph.getNodeById(target_id).inputs[target_slot];
    return output[`${{box.id}}:${{target_id}}`]?.inputs[input.widget?.name ?? input.name] ?? [];
  }});
  const values = box => box.inputs.filter(({{widget, link}}) => widget && link == null).map(({{name}}) => name);
  return {BOXES}.map(box => Object.fromEntries(values(box).map(name =>
    [name, [shown(box, name), ...sent(box, name)]])));
}})()"""
# Brings a box into view and gives how it is there: [field of text or -, or the middle of its line; px] of each value.
BRING = f"""(async number => {{
  const box = {BOXES}[number];
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [400 - box.pos[0], 120 - box.pos[1]];
  app.canvas.setDirty(true, true);
  await new Promise(done => setTimeout(done, 300));
  const {{left, top}} = app.canvas.canvas.getBoundingClientRect();
  return Object.fromEntries(box.widgets.filter(({{name}}) => name).map(({{name, y}}) =>
    [name, [left + 400, left + 400 + box.size[0], top + 120 + y + 10]]));
}})"""
TEXT = f"""((number, name) => {{
  const box = {BOXES}[number];
  const row = document.querySelector(`[data-node-id="${{box.id}}"] [data-widget-name="${{name}}"]`);
  const field = row ? row.querySelector('textarea, input:not([role=spinbutton])')
    : box.widgets.find(widget => widget.name === name).element;
  field?.focus();
  field?.select();
  return !!field;
}})"""
CHOOSE = f"""(async (number, name) => {{
  const row = document.querySelector(`[data-node-id="${{{BOXES}[number].id}}"] [data-widget-name="${{name}}"]`);
  const [more, list] = ['[data-testid=increment]', '[role=combobox]'].map(button => row.querySelector(button));
  if (more) return (more.disabled ? row.querySelector('[data-testid=decrement]') : more).click();
  const before = list.innerText;
  list.click();
  const options = () => [...document.querySelectorAll('[role=option]')];
  for (let frame = 0; frame < 50 && !options().length; frame++) await new Promise(done => setTimeout(done, 20));
  (options().find(option => option.innerText.trim() !== before.trim()) ?? list).click();
  for (let frame = 0; frame < 50 && options().length; frame++) await new Promise(done => setTimeout(done, 20));
}})"""
OPEN_FILES = "app.extensionManager.workflow"
TRACKER = f"{OPEN_FILES}.activeWorkflow.changeTracker"
NOTED = f"({TRACKER}.captureCanvasState ?? {TRACKER}.checkState).call({TRACKER})"
# Older editors keep the tabs twice, one row out of sight.
TABS = "[...document.querySelectorAll('.workflow-tab')].filter(tab => tab.offsetParent)"
OTHERS = f"""{BOXES}.map(box => Object.fromEntries(box.widgets.map(({{name, type, value, options}}) => [name,
  type !== 'combo' || (options.values.call?.() ?? options.values).some(other => other !== value)])))"""
COPIED = f"""(boxes => {{
  app.canvas.copyToClipboard(boxes);
  app.canvas.pasteFromClipboard({{position: [0, 3000]}});
}})({BOXES})"""
SAVED = f"(({{isPersisted, isModified}}) => isPersisted && !isModified)({OPEN_FILES}.activeWorkflow)"

Typed = list[dict[str, Any]]


def put_down(visit: Visit, path: Path) -> None:
    """A template as from the gallery, a blueprint as from the list of nodes."""
    graph = workflow.load(path)
    if path.parent.name == "workflows":
        named = f"true, true, {json.dumps(path.stem)}, {{openSource: 'template'}}"
        visit.page.evaluate(f"app.loadGraphData({json.dumps(graph)}, {named})")
    else:
        items = {"nodes": graph["nodes"], "subgraphs": graph["definitions"]["subgraphs"]}
        visit.page.evaluate("app.graph.clear()")
        visit.page.evaluate(f"void app.canvas._deserializeItems({json.dumps(items)}, {{position: [0, 0]}})")
    visit.settle()
    visit.close_dialogs()


def seen(visit: Visit, when: str = "opened") -> Typed:
    """What the boxes show. Fails where something else is sent."""
    boxes = visit.page.evaluate(STATE)
    differ = [
        f"{name}: shown {shown!r}, sent {sent!r}"
        for box in boxes
        for name, (shown, *sent) in box.items()
        if not sent or not all(same(shown, value) for value in sent)
    ]
    assert differ == [], when
    return [{name: sent[0] for name, (_, *sent) in box.items()} for box in boxes]


def same(shown: Any, sent: Any) -> bool:
    """As a number where it is sent as one: it may be shown as 5.0."""
    if isinstance(sent, int | float) and not isinstance(sent, bool):
        return float(shown) == pytest.approx(sent)
    return str(shown).strip() == str(sent).strip()


def typed_of(boxes: Typed, typed: Typed) -> Typed:
    """Without values that a copy has because its links are gone, or that 1.27.10 shows from the second opening on."""
    return [{name: box[name] for name in names} for box, names in zip(boxes, typed, strict=True)]


def type_all(visit: Visit) -> Typed:
    """Another value everywhere, by keyboard and mouse; what is sent then. A list of one file has no other."""
    before, others = seen(visit), visit.page.evaluate(OTHERS)
    for number, box in enumerate(before):
        lines = visit.page.evaluate(f"{BRING}({number})")
        for name in box:
            value = f"{number}, {json.dumps(name)}"
            if visit.page.evaluate(f"{TEXT}({value})"):
                visit.page.call("Input.insertText", text=f"typed into {name}")
            elif visit.vue:
                visit.page.evaluate(f"{CHOOSE}({value})")
            elif others[number][name]:
                type_on_canvas(visit, number, name, *lines[name])
    visit.settle()
    visit.page.evaluate(NOTED)
    typed = seen(visit, "typed")
    assert [
        name
        for old, new, other in zip(before, typed, others, strict=True)
        for name in old
        if other[name] and old[name] == new[name]
    ] == []
    return typed


def type_on_canvas(visit: Visit, number: int, name: str, left: float, right: float, y: float) -> None:
    """By the arrows at both ends of the line, or in the dialog that a click on it opens."""
    field = "document.querySelector('.graphdialog input, .graphdialog textarea')"
    value = f"{BOXES}[{number}].widgets.find(widget => widget.name == {json.dumps(name)}).value"
    before = visit.page.evaluate(value)
    for x in (right - 25, left + 25):
        if visit.page.evaluate(value) == before:
            visit.page.click(x, y)
        if visit.page.evaluate(f"(found => {{ found?.select(); return !!found }})({field})"):
            visit.page.call("Input.insertText", text="typed in a dialog")
            visit.page.press_enter()


def usual(path: Path) -> Any:
    seldom = pytest.mark.thorough_with("with Vue nodes") if path.stem in CLASSIC else pytest.mark.thorough
    return pytest.param(path, id=path.stem, marks=() if path.stem == USUAL else seldom)


@pytest.fixture(params=map(usual, [*templates.FILES, *templates.BLUEPRINTS]))
def put(request: pytest.FixtureRequest, visit: Visit) -> Path:
    """A file that is open, in a tab of its own."""
    path = request.param
    if path.parent.name == "subgraphs" and visit.server.host.version < (0, 33):
        pytest.skip("this ComfyUI reads no blueprints")
    templates.skip_unless_known(path, visit.server.object_info())
    visit.page.resize(1280, 1080)
    put_down(visit, path)
    return path


def test_what_is_typed_is_shown_and_sent_whatever_is_done_in_between(put: Path, visit: Visit) -> None:
    page, typed = visit.page, type_all(visit)

    place = page.evaluate(f"{OPEN_FILES}.openWorkflows.indexOf({OPEN_FILES}.activeWorkflow)")
    for tab in (place - 1, place):
        page.evaluate(f"{TABS}.at({tab}).click()")
        visit.settle()
    assert typed_of(seen(visit, "another tab and back"), typed) == typed

    page.evaluate(COPIED)
    visit.settle()
    page.evaluate(NOTED)
    copies = seen(visit, "pasted")
    assert typed_of(copies[: len(typed)], typed) == typed
    assert typed_of(copies[len(typed) :], typed) == typed, "a copy of each"

    page.evaluate(f"{TRACKER}.undo()")
    visit.settle()
    assert typed_of(seen(visit, "undone"), typed) == typed

    save(visit)
    visit.open()
    page.wait(f"{BOXES}.length == {len(typed)}")
    visit.settle()
    assert typed_of(seen(visit, "saved, and the page opened anew"), typed) == typed

    exported = page.evaluate("app.graphToPrompt().then(made => JSON.stringify(made.workflow))")
    page.evaluate("app.loadGraphData()")
    page.evaluate(f"app.handleFile(new File([{json.dumps(exported)}], 'mine.json', {{type: 'application/json'}}))")
    page.wait(f"{BOXES}.length == {len(typed)}")
    visit.settle()
    assert typed_of(seen(visit, "exported and imported"), typed) == typed


def save(visit: Visit) -> None:
    """As Ctrl+S, under a name of its own."""
    visit.page.evaluate("void app.extensionManager.command.execute('Comfy.SaveWorkflow')")
    field = "document.querySelector('[role=dialog] input[type=text]')"
    visit.page.wait(f"!!{field}")
    visit.page.evaluate(f"{field}.focus(); {field}.select()")
    visit.page.call("Input.insertText", text=uuid.uuid4().hex)
    visit.page.press_enter()
    visit.page.wait(SAVED)


def portrait() -> tuple[Graph, Graph]:
    """A template, and the one box in it."""
    graph = workflow.load(templates.ROOT / "workflows" / "start_portrait.json")
    (box,) = (node for node in graph["nodes"] if node["type"] == graph["definitions"]["subgraphs"][0]["id"])
    return graph, box


def first_values(box: Graph) -> None:
    """As newer frontends saved a box of our first templates: its first values beside those that it showed."""
    entry = {"reason": "missingSourceNode", "attemptedAtVersion": 1}
    names = [slot["name"] for slot in box["inputs"] if "widget" in slot]
    box["properties"]["proxyWidgetErrorQuarantine"] = [
        {"originalEntry": ["-1", name], "hostValue": value, **entry}
        for name, value in zip(names, box["widgets_values"], strict=True)
    ]


def names_in_another_order(box: Graph) -> None:
    """As frontends between 1.27 and 1.49 saved a box whose values somebody had put into another order."""
    names = [slot["name"] for slot in box["inputs"] if "widget" in slot]
    box["properties"]["proxyWidgets"] = [["-1", name] for name in reversed(names)]
    box["widgets_values"].reverse()


REPAIRED = "An earlier version of this template could show one value and send another. Now it sends what it shows."


@pytest.mark.parametrize("as_saved", [first_values, names_in_another_order])
def test_a_file_saved_from_an_earlier_template_sends_what_it_shows(visit: Visit, as_saved: Any) -> None:
    """What was last saved, and with a word where the first values were beside it. Boxes of others stay as they are."""
    graph, box = portrait()
    if as_saved is first_values:
        first_values(box)
    values = dict(zip(("text", "width", "height", "adapter_weight", "steps"), ("mine", 640, 768, 0.5, 2), strict=True))
    box["widgets_values"][: len(values)] = values.values()
    if as_saved is names_in_another_order:
        names_in_another_order(box)
    visit.close_dialogs()
    visit.page.evaluate(f"app.loadGraphData({json.dumps(graph)}, true, true, 'saved')")
    visit.settle()
    for when in ("opened", "opened again"):
        (shown,) = seen(visit, when)
        assert {name: shown[name] for name in values} == values
        saved = visit.page.evaluate("JSON.parse(JSON.stringify(app.graph.serialize()))")
        if when == "opened" and as_saved is first_values:
            changed = "Portrait of one person: Prompt, Width, Height, How alike, Steps."
            visit.await_text(f"{REPAIRED} Check, then save: {changed}")
        visit.page.evaluate(f"app.loadGraphData({json.dumps(saved)}, true, true, 'saved again')")
        visit.settle()
    assert REPAIRED not in visit.text()


def test_boxes_of_other_packs_are_left_alone(visit: Visit) -> None:
    graph, box = portrait()
    first_values(box)
    box["properties"]["proxyWidgets"] = [["-1", "text"]]
    box["properties"]["cnr_id"] = "another"
    theirs = json.dumps(graph).replace('"Likeness', '"Another')
    hook = "app.extensions.find(({name}) => name === 'likeness.saved_boxes').beforeConfigureGraph"
    for given, stays in ((theirs, True), (json.dumps(graph), False)):
        left = visit.page.evaluate(f"(graph => {{ {hook}(graph); return graph }})({given})")
        assert (left == json.loads(given)) is stays
