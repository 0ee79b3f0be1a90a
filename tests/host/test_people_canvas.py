"""The canvas on which people are dragged, bent and swapped: on Place Cast, and on Who Stands Where behind a box."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from browser.canvas import Graph, node
from browser.fixtures import ALL, in_frontends, newest_often
from browser.node_on_page import NodeOnPage
from browser.people_canvas import PeopleCanvas
from browser.visit import Visit
from pack.core.checks.limits import ARRANGED_LETTERS

pytestmark = pytest.mark.browser
PLACE_CAST, BEHIND = "LikenessPlaceCast", "LikenessWhoStandsWhere"
GROUP = {"framing": "half", "rows": 0, "width": 1024, "height": 768}


def graph(count: int = 3, arrange: str = "") -> Graph:
    """So many people without photos, placed, with a canvas behind."""
    # What a prompt leaves out, frontend 1.49.6 takes from the graph before.
    set_by_hand = {"order": "as listed", "custom_order": "", "arrange": arrange}
    return {
        "layout": node("LikenessLayoutForAGroup", count=count, **GROUP),
        "places": node(PLACE_CAST, layout=["layout", 0], **set_by_hand),
        "behind": node(BEHIND, cast=["places", 0]),
    }


def canvas_of(visit: Visit, kind: str = BEHIND) -> PeopleCanvas:
    """The canvas of a node, in view, as large as in templates."""
    shown = visit.canvas.node_of(kind)
    shown.evaluate("(node, size) => void node.setSize(size)", [400, 700 if kind == PLACE_CAST else 400])
    shown.show_at(200, 80)
    visit.close_dialogs()  # of missing files, of a workflow before: it lies over the canvas
    visit.canvas.settle()
    return PeopleCanvas(shown)


def opened(visit: Visit, count: int = 3, kind: str = BEHIND, arrange: str = "") -> PeopleCanvas:
    visit.load(graph(count, arrange))
    canvas = canvas_of(visit, kind)
    canvas.await_places(count)
    return canvas


def into_a_box(visit: Visit) -> None:
    """Put the layout and Place Cast into a box, and that into another."""
    visit.page.evaluate("""() => {
        const inBox = kinds => app.graph.convertToSubgraph(new Set(app.graph.nodes.filter(kinds))).node;
        inBox(node => node.type !== 'LikenessWhoStandsWhere');
        inBox(node => node.subgraph);
    }""")


def edits(canvas: PeopleCanvas) -> dict[str, Any]:
    return json.loads(canvas.text() or "{}")


def saved_text(visit: Visit) -> str:
    """What the file has in Arranged by hand, in whichever graph the Place Cast is."""
    file = visit.canvas.saved()
    graphs = [file, *file.get("definitions", {}).get("subgraphs", [])]
    (placed,) = (node for graph in graphs for node in graph["nodes"] if node["type"] == PLACE_CAST)
    return placed["widgets_values"][-1]


def sent_text(visit: Visit) -> str:
    (text,) = (entry["inputs"]["arrange"] for entry in visit.canvas.prompt().values() if "arrange" in entry["inputs"])
    return text


@pytest.mark.both_hosts
@pytest.mark.parametrize("where", [PLACE_CAST, BEHIND, "boxes"])
def test_a_person_is_dragged_in_one_step(visit: Visit, where: str) -> None:
    """Without a run before; the text is in the file and in the prompt; what is dragged after an undo as well."""
    visit.load(graph())
    if where == "boxes":
        into_a_box(visit)
    canvas = canvas_of(visit, where if where == PLACE_CAST else BEHIND)
    canvas.await_places(3)
    x, y = canvas.at(1)
    canvas.drag((x, y), (30, 12))
    assert canvas.at(1) == pytest.approx((x + 30, y + 12), abs=1.5)
    once = canvas.text()
    assert saved_text(visit) == sent_text(visit) == once
    canvas.drag(canvas.at(2), (-20, 0))
    assert edits(canvas).keys() == {"1", "2"}
    visit.page.keyboard.press("Control+z")
    visit.await_true(lambda: saved_text(visit) == once)
    canvas.await_true("(canvas, text) => canvas.text === text", once)
    visit.page.keyboard.press("Control+y")
    visit.await_true(lambda: saved_text(visit) != once, message="redone; also where the nodes were put down new")
    visit.page.keyboard.press("Control+z")
    visit.await_true(lambda: saved_text(visit) == once)
    canvas.drag(canvas.at(3), (0, 15))
    assert edits(canvas).keys() == {"1", "3"}
    assert saved_text(visit) == canvas.text()
    assert visit.red() == []


@pytest.mark.both_hosts
def test_places_are_seen_before_faces_are_read(visit: Visit, people: Graph) -> None:
    """Reading them takes models and a while. An edit that was made before stays; the round arrow brings the faces."""
    photo = ["photo", 0]
    cast = node("LikenessCastFromPhotos", face_model=["models", 0], photo_1=photo, photo_3=photo, names="Yao, , Ben")
    in_front = {name: people[name] for name in ("models", "photo")} | {"cast": cast}
    placed = graph(7)
    for name in ("layout", "places"):
        placed[name]["inputs"]["cast"] = ["cast", 0]
    visit.load(in_front | placed)
    canvas = canvas_of(visit)
    canvas.await_places(2)
    assert canvas.names() == ["1 person 1", "2 person 2"]
    canvas.drag(canvas.at(1), (10, 10))
    moved = edits(canvas)
    canvas.press("a")
    assert edits(canvas)["3"]["like"] == 1
    assert canvas.names()[2] == "3", "nobody is left for a place more"
    canvas.press("Delete")
    canvas.click_button("Look again")
    canvas.await_true("canvas => canvas.places()[0].person.name === 'Yao'")
    assert edits(canvas) == moved
    assert visit.red() == []


_TAB_UNKNOWN = """() => {
    const editor = app.extensionManager.workflow;
    const {openWorkflow} = editor;
    const later = new Promise(answer => { window.tabIsKnown = answer; });
    editor.openWorkflow = async (...given) => {
        editor.openWorkflow = openWorkflow;
        await later;
        return openWorkflow.apply(editor, given);
    };
}"""


@pytest.mark.both_hosts
def test_a_gesture_outlives_that_the_editor_learns_which_tab_is_open(visit: Visit) -> None:
    """On a busy machine that is a while after the graph is there, and after its places are."""
    if visit.server.host.version >= (0, 33):
        pytest.skip("this frontend opens no graph before")
    visit.page.evaluate(_TAB_UNKNOWN)
    canvas = opened(visit, kind=PLACE_CAST)
    x, y = canvas.at(1)
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + 20, y + 8)
    before = visit.page.evaluate("app.extensionManager.workflow.activeWorkflow.path")
    visit.page.evaluate("window.tabIsKnown()")
    visit.await_true(lambda: visit.page.evaluate("app.extensionManager.workflow.activeWorkflow.path") != before)
    visit.page.mouse.move(x + 30, y + 12)
    visit.page.mouse.up()
    assert canvas.at(1) == pytest.approx((x + 30, y + 12), abs=1.5)
    assert saved_text(visit) == canvas.text() != ""


@pytest.mark.both_hosts
@in_frontends(*ALL)
def test_far_out_the_node_is_dragged_and_nobody_on_it(visit: Visit) -> None:
    """Where heads are under 12 px high on the screen; it is one step of undo."""
    canvas = opened(visit)
    canvas.node.evaluate("""node => {
        Object.assign(app.canvas.ds, {scale: 0.15, offset: [2000 - node.pos[0], 1500 - node.pos[1]]});
        app.canvas.setDirty(true, true);
    }""")
    visit.canvas.settle()
    before = canvas.node.evaluate("node => [...node.pos]")
    canvas.drag(canvas.at(2), (60, 30))
    moved = canvas.node.evaluate("node => [...node.pos]")
    assert canvas.text() == ""
    assert minus_points(moved, before) == pytest.approx((400, 200), abs=30)
    visit.page.keyboard.press("Control+z")
    visit.await_true(lambda: canvas.node.evaluate("node => [...node.pos]") == pytest.approx(before, abs=1))
    assert visit.red() == []


def size(visit: Visit, canvas: PeopleCanvas, width: int) -> None:
    """The layout is given another width; wait until the canvas has it."""
    visit.canvas.node_of("LikenessLayoutForAGroup").set_value("width", width)
    visit.canvas.note_change()
    canvas.await_true("(canvas, width) => canvas.size()[0] === width", width)


def test_places_come_by_themselves_beside_what_is_not_theirs(visit: Visit) -> None:
    """Beside a node that is not installed, and without a new seed for one that draws something new after each run."""
    of_sampler = {"seed": 5, "steps": 1, "cfg": 1, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}
    beside = {
        "image": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        "unknown": node("PreviewImage", images=["image", 0]),
        "sampler": node("KSampler", **of_sampler),
    }
    visit.load({**graph(), **beside})
    visit.canvas.node_of("PreviewImage").evaluate("node => { node.comfyClass = 'NotInstalled'; }")
    sampler = visit.canvas.node_of("KSampler")
    sampler.set_value("control_after_generate", "randomize")
    canvas = canvas_of(visit)
    canvas.await_places(3)
    size(visit, canvas, 896)
    assert sampler.value("seed") == 5
    assert visit.red() == []


def test_places_behind_slow_nodes_come_by_a_button_and_then_by_themselves(visit: Visit) -> None:
    """What the host has the results of is quick."""
    slow = {
        "photo": node("EmptyImage", width=768, height=64, batch_size=1, color=0),
        "scaled": node("ImageScaleBy", image=["photo", 0], upscale_method="bilinear", scale_by=1.0),
        "size": node("GetImageSize", image=["scaled", 0]),
    }
    placed = graph()
    placed["layout"]["inputs"]["height"] = ["size", 0]
    visit.load({**slow, **placed})
    canvas = canvas_of(visit)
    canvas.await_line("takes a while")
    assert canvas.evaluate("canvas => canvas.places().length") == 0
    canvas.click_button("Look again")
    canvas.await_places(3)
    size(visit, canvas, 896)
    visit.canvas.node_of("EmptyImage").set_value("width", 832)
    visit.canvas.note_change()
    canvas.await_line("takes a while")
    visit.canvas.node_of("LikenessLayoutForAGroup").unlink("height")
    visit.canvas.node_of("LikenessLayoutForAGroup").set_value("height", 640)
    visit.canvas.note_change()
    canvas.await_true("canvas => canvas.size()[1] === 640")
    assert "takes a while" not in canvas.line()
    assert visit.red() == []


_QUEUE_IS_BUSY = """async () => {
    const {api} = await import('/scripts/api.js');
    const {getQueue, queuePrompt} = api;
    const later = new Promise(answer => { window.pictureIsMade = answer; });
    api.getQueue = async () => ({Running: [{}], Pending: []});
    api.queuePrompt = async function (...given) {
        Object.assign(api, {getQueue, queuePrompt});
        await later;
        return queuePrompt.apply(api, given);
    };
}"""


def test_a_canvas_says_that_it_waits_for_the_picture_that_is_being_made(visit: Visit) -> None:
    canvas = opened(visit)
    visit.page.evaluate(_QUEUE_IS_BUSY)
    visit.canvas.node_of("LikenessLayoutForAGroup").set_value("width", 896)
    visit.canvas.note_change()
    canvas.await_line("Waits for the picture")
    canvas.drag(canvas.at(1), (20, 10))
    assert edits(canvas).keys() == {"1"}, "a gesture needs no run"
    visit.page.evaluate("window.pictureIsMade()")
    canvas.await_true("canvas => canvas.size()[0] === 896")
    assert "Waits" not in canvas.line()
    assert edits(canvas).keys() == {"1"}
    assert visit.red() == []


@pytest.mark.both_hosts
def test_the_wheel_the_keys_and_the_room_are_whose_they_are(visit: Visit) -> None:
    """The wheel is the canvas's with the focus, else the graph's, as is the middle button. Plain keys are the canvas's:
    the graph would remove the node. The node's picture takes no room from it."""
    canvas = opened(visit, kind=PLACE_CAST)
    places = canvas.node
    places.select()
    places.show_at(200, 80)
    visit.canvas.settle()
    mouse = visit.page.mouse
    mouse.move(*canvas.at(2))
    mouse.wheel(0, -240)
    # By how much it zooms, and which way, editors say by what they take the wheel for.
    visit.await_true(lambda: visit.page.evaluate("app.canvas.ds.scale") != 1)
    assert canvas.evaluate("canvas => canvas.state.view.zoom") == 1
    places.show_at(200, 80)
    visit.canvas.settle()
    canvas.press("Escape")
    mouse.move(*canvas.at(2))
    mouse.wheel(0, -240)
    canvas.await_true("canvas => canvas.state.view.zoom > 1")
    assert visit.page.evaluate("app.canvas.ds.scale") == 1
    canvas.press("w", "q", "Delete")
    assert len(visit.canvas.kinds()) == 3
    before = visit.page.evaluate("[...app.canvas.ds.offset]")
    mouse.down(button="middle")
    mouse.move(600, 300, steps=3)
    mouse.up(button="middle")
    assert visit.page.evaluate("[...app.canvas.ds.offset]") != before
    high = canvas.evaluate("({pane}) => pane.svg.clientHeight")
    assert visit.run()["status"]["status_str"] == "success"
    visit.canvas.settle()
    assert canvas.evaluate("({pane}) => pane.svg.clientHeight") > high - 80, "a line of words, and no picture"
    assert visit.red() == []


TABLE = json.loads((Path(__file__).resolve().parents[1] / "support" / "arranged.json").read_text("utf-8"))
_OF_TABLE = """
async ([pack, data, text]) => {
  const {arranged, fromBack, read, withoutPlace} = await import(`/extensions/${pack}/places_shown.js`);
  const edits = read(text);
  if (!edits) return null;
  const swapped = name => name.replace(/left|right/, side => side === 'left' ? 'right' : 'left');
  const ofSides = (table, {mirror}) =>
    Object.fromEntries(Object.entries(table).map(([name, value]) => [mirror ? swapped(name) : name, value]));
  const places = arranged(data, edits).filter(({number}) => number);
  return {
    gone: withoutPlace(data, edits),
    from_back: fromBack(places, edits).map(({given}) => given),
    arranged: places.map(({given, nose, head, faceBox, person, joints, hands, outlines, edit}) => ({
      number: given, nose, head, box: faceBox, who: person?.number ?? 0,
      joints: ofSides(joints, edit), hands: ofSides(hands, edit),
      region: outlines.map(({sign, points}) => [sign, ...points.flat()]),
    })),
  };
}
"""


@pytest.mark.both_hosts
@newest_often
def test_the_page_reads_texts_as_a_run_does(visit: Visit) -> None:
    """Points of the table that tests/unit/test_arranging.py reads, too."""
    data = {**TABLE["layout"], "people": [{"number": number, "name": "", "face": None} for number in (1, 2)]}

    def on_page(text: str) -> Any:
        return visit.page.evaluate(_OF_TABLE, [visit.server.pack_name, data, text])

    for row in TABLE["rows"]:
        found = on_page(row["text"])
        assert found["gone"] == row.get("gone", []), row["text"]
        assert found["from_back"] == row.get("from_back", [expected["number"] for expected in row["arranged"]])
        for place, expected in zip(found["arranged"], row["arranged"], strict=True):
            for name, value in expected.items():
                has = {joint: place[name][joint] for joint in value} if isinstance(value, dict) else place[name]
                assert flat(has) == pytest.approx(flat(value), abs=1e-3), (row["text"], name)
    assert [text for text in TABLE["refused"] if on_page(text) is not None] == []


def flat(value: Any) -> list[Any]:
    """The numbers of points; signs of outlines as 1 and -1."""
    if isinstance(value, dict):
        return [number for name in sorted(value) for number in flat(value[name])]
    if isinstance(value, list):
        return [number for one in value for number in flat(one)]
    return [{"+": 1, "-": -1}.get(value, value)]


def lengths(canvas: PeopleCanvas, *joints: str) -> list[float]:
    """Of the bones between joints of the first place, px of the screen."""
    points = [canvas.at(1, joint) for joint in joints]
    return [math.dist(one, other) for one, other in itertools.pairwise(points)]


ARM = ("right shoulder", "right elbow", "right wrist")


@pytest.mark.both_hosts
def test_each_gesture_writes_what_it_has_done(visit: Visit) -> None:
    canvas = opened(visit)

    def reset() -> None:
        canvas.press("Escape", "Escape", "r")
        assert canvas.text() == ""

    canvas.press("1")
    canvas.drag(canvas.handle(2), (14, 14))
    assert edits(canvas)["1"].keys() == {"scale"}
    assert edits(canvas)["1"]["scale"] > 1.2
    reset()
    canvas.press("1")
    canvas.drag(canvas.handle(4), (25, 10))
    assert edits(canvas)["1"].keys() == {"turn"}
    reset()
    before = lengths(canvas, *ARM)
    for joint, way, moved in (
        ("right elbow", (-20, -12), {"right elbow", "right wrist"}),
        ("right wrist", (12, -25), {"right elbow", "right wrist"}),
    ):
        canvas.press("1")
        canvas.drag(canvas.at(1, joint), way)
        assert edits(canvas)["1"]["joints"].keys() == moved
        assert lengths(canvas, *ARM) == pytest.approx(before, rel=0.03), "lengths are kept"
        reset()
    canvas.press("1")
    canvas.drag(canvas.at(1, "right wrist"), (-20, 5), modifier="Alt")
    assert edits(canvas)["1"]["joints"].keys() == {"right wrist"}
    reset()
    canvas.press("1")
    canvas.click_button("Draw around what belongs")
    canvas.draw_around(canvas.at(1), 20)
    canvas.click_button("Draw around what does not")
    canvas.draw_around(canvas.at(1), 8)
    (plus, *outer), (minus, *inner) = edits(canvas)["1"]["region"]
    assert (plus, minus) == ("+", "-")
    assert 8 <= len(inner) <= len(outer) + 6 <= 24, "thinned"
    reset()
    canvas.drag(canvas.name_tag(1), minus_points(canvas.at(3), canvas.name_tag(1)))
    assert edits(canvas) == {"who": {"1": 3, "3": 1}}
    assert canvas.names() == ["1 person 3", "2 person 2", "3 person 1"]
    reset()
    canvas.drag(canvas.at(1), (-2000, 0))
    nose = canvas.evaluate("canvas => canvas.places()[0].nose")
    assert nose[0] == pytest.approx(0, abs=1), "the nose stays in the picture"
    reset()
    for button, written in (
        ("Mirror", {"1": {"mirror": True}}),
        ("In front", {"front": [1]}),
        ("Take this place out", {"1": {"out": True}}),
    ):
        canvas.press("1")
        canvas.click_button(button)
        assert edits(canvas) == written
        reset()
    canvas.press("1")
    canvas.click_button("Add a place")
    (added,) = edits(canvas).items()
    assert added[0] == "4"
    assert added[1]["like"] == 1
    assert canvas.names() == ["1 person 1", "2 person 2", "3 person 3", "4 person 4"]
    canvas.press("Delete")
    assert edits(canvas) == {}, "one that was added is gone"
    assert visit.red() == []


@newest_often
def test_an_arm_that_ends_below_a_bust_is_bent(visit: Visit) -> None:
    bust = graph(2)
    bust["layout"]["inputs"]["framing"] = "bust"
    visit.load(bust)
    canvas = canvas_of(visit)
    canvas.await_places(2)
    canvas.press("2")
    out_of_sight = canvas.at(2, "right elbow")
    held = canvas.joint_handle(3)
    assert held[1] < out_of_sight[1]
    canvas.drag(held, (-60, -30))
    assert edits(canvas)["2"]["joints"].keys() == {"right elbow"}
    assert canvas.at(2, "right elbow")[0] < out_of_sight[0] - 20


def minus_points(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] - other[0], one[1] - other[1]


BY_KEYS = {
    "1 ArrowRight ArrowRight ArrowDown": {"1": {"move": [0.1, 0.05]}},
    "1 Shift+ArrowRight": {"1": {"move": [0.5, 0]}},
    "PageDown PageDown + +": {"2": {"scale": 1.1}},
    "PageUp ] ] [": {"3": {"turn": 5}},
    "2 m": {"2": {"mirror": True}},
    "2 f": {"front": [2]},
    "1 s": {"who": {"1": 2, "2": 1}},
    "1 S": {"who": {"1": 3, "3": 1}},
    "2 Delete": {"2": {"out": True}},
    "2 Delete Delete": {},
    "3 a": {"4": {"like": 3}},
    "1 l Space ArrowRight ArrowRight Space ArrowDown Space Enter": {"1": {"region": [["+", 0, 0, 0.2, 0, 0.2, 0.1]]}},
    "1 ArrowRight r": {},
}
"""What keys write, on three people."""


@pytest.mark.both_hosts
def test_everything_is_done_by_keys(visit: Visit) -> None:
    canvas = opened(visit)
    for keys, written in BY_KEYS.items():
        canvas.press(*keys.split())
        found = edits(canvas)
        if "4" in found:
            del found["4"]["move"]  # beside the place that it is like
        assert found == written, keys
        canvas.press("Escape", "Escape", "Escape", "r")
        assert canvas.text() == ""
    before = lengths(canvas, *ARM)
    canvas.press("1")
    while canvas.evaluate("canvas => canvas.state.joint") != "right wrist":
        canvas.press("j")
    canvas.press(*["ArrowUp"] * 6)
    assert edits(canvas)["1"]["joints"].keys() == {"right elbow", "right wrist"}
    assert lengths(canvas, *ARM) == pytest.approx(before, rel=0.05)
    assert visit.red() == []


def undo(visit: Visit) -> None:
    visit.page.keyboard.press("Control+z")


@pytest.mark.thorough
def test_keys_in_a_row_and_a_word_before_are_a_step_each(visit: Visit) -> None:
    """The editor keeps fifty steps in all. Thorough, as a busy machine lets half a second pass between two keys."""
    canvas = opened(visit)
    word = visit.page.locator("textarea").first
    visit.canvas.node_of("LikenessLayoutForAGroup").show_at(200, 80)
    visit.canvas.settle()
    word.click()
    visit.page.keyboard.insert_text("man")
    canvas = canvas_of(visit)
    canvas.drag(canvas.at(1), (25, 0))
    dragged = canvas.text()
    canvas.press(*["ArrowDown"] * 5, *["ArrowUp"] * 2)
    undo(visit)
    visit.await_true(lambda: edits(canvas)["1"]["move"][1] == 0.25)
    canvas.press("ArrowUp")
    assert edits(canvas)["1"]["move"][1] == 0.2, "the same person is chosen, and has the keys"
    undo(visit)
    visit.await_true(lambda: edits(canvas)["1"]["move"][1] == 0.25)
    undo(visit)
    visit.await_true(lambda: canvas.text() == dragged)
    undo(visit)
    visit.await_true(lambda: canvas.text() == "")
    assert visit.canvas.node_of("LikenessLayoutForAGroup").value("people") == "man"


def write(places: NodeOnPage, text: str) -> None:
    """Write into Arranged by hand, as its field does."""
    places.evaluate(
        """(node, text) => {
            const field = node.widgets.find(widget => widget.name === 'arrange');
            field.value = text;
            field.callback(text);
        }""",
        text,
    )


LOCKED = {
    "half": "cannot be read",
    "link": "comes by a link",
    "no wire": "Connect the output Cast",
    "from elsewhere": "from another node than Place Cast",
    "muted": "what is changed here does not count",
    "no layout": "Place Cast gets no Layout",
}


@pytest.mark.both_hosts
@pytest.mark.parametrize("why", LOCKED)
def test_a_canvas_that_changes_nothing_says_why(visit: Visit, why: str) -> None:
    canvas = opened(visit)
    places = visit.canvas.node_of(PLACE_CAST)
    if why == "half":
        write(places, '{"2":{"mo')
    elif why == "link":
        visit.page.evaluate("""() => {
            const text = LiteGraph.createNode('PrimitiveString') ?? LiteGraph.createNode('StringConcatenate');
            app.graph.add(text);
            const cast = app.graph.nodes.find(node => node.type === 'LikenessPlaceCast');
            text.connect(0, cast, cast.inputs.findIndex(input => input.name === 'arrange'));
        }""")
    elif why == "no wire":
        canvas.node.unlink("cast")
    elif why == "from elsewhere":
        visit.page.evaluate("""() => {
            const cast = LiteGraph.createNode('LikenessCast');
            app.graph.add(cast);
            cast.connect(0, app.graph.nodes.find(node => node.type === 'LikenessWhoStandsWhere'), 0);
        }""")
    else:
        off = visit.canvas.node_of("LikenessLayoutForAGroup") if why == "no layout" else places
        off.evaluate("node => { node.mode = 2; }")
        visit.canvas.note_change()
    canvas.await_line(LOCKED[why])
    if why in ("muted", "no layout"):
        assert visit.red() == []
        return
    before = places.value("arrange")
    if canvas.evaluate("canvas => canvas.places().length"):
        canvas.drag(canvas.at(2), (20, 10))
        canvas.press("2", "m", "ArrowLeft", "r")
    assert places.value("arrange") == before
    assert visit.red() == []


HOSTILE = [
    *TABLE["refused"],
    '{"__proto__": {"move": [1, 1]}, "constructor": 5}',
    '{"1": {"__proto__": {"mirror": true}}}',
    "[" * 3000,
    '{"1": {"move": [1e999, 0]}}',
    "{}" + " " * ARRANGED_LETTERS,
]
"""Not 10 MB, which tests/unit/test_arranging.py refuses: the browser's storage, in which the editor keeps what is open,
takes 5, and a page that is opened anew would show another workflow."""


@pytest.mark.both_hosts
def test_texts_that_nothing_can_read_lock_the_canvas(visit: Visit) -> None:
    canvas = opened(visit)
    places = visit.canvas.node_of(PLACE_CAST)
    for text in HOSTILE:
        write(places, text)
        assert "cannot be read" in canvas.line(), text[:80]
        canvas.press("1", "m", "Escape")
        assert places.value("arrange") == text
    assert visit.page.evaluate("[({}).move, ({}).mirror]") == [None, None]
    write(places, "")
    assert visit.red() == []


@pytest.mark.both_hosts
def test_a_file_with_the_wires_that_went_opens_and_runs(visit: Visit) -> None:
    """Draw Skeletons had a socket for a layout beside that for a cast, and the mask of a place one beside its cast."""
    layout, cast, image = "LIKENESS_LAYOUT", "LIKENESS_CAST", "IMAGE"
    links = [
        [1, 1, 0, 2, 1, layout], [2, 1, 0, 3, 0, layout], [3, 2, 0, 4, 0, cast], [4, 1, 0, 4, 1, layout],
        [5, 3, 0, 5, 0, image], [6, 4, 1, 6, 0, image],
    ]  # fmt: skip
    nodes = [
        ("LikenessLayoutForAGroup", [("cast", cast)], [("layout", layout)], [2, "half", 1, 512, 384]),
        (PLACE_CAST, [("cast", cast), ("layout", layout)], [("placed", cast)], ["as listed", ""]),
        ("LikenessDrawSkeletons", [("layout", layout), ("cast", cast)], [("image", image)], ["skeletons"]),
        (
            "LikenessMaskOfAPersonsPlace",
            [("cast", cast), ("layout", layout)],
            [("mask", "MASK"), ("preview", image)],
            [1, "face", 0.25, 8],
        ),
        ("PreviewImage", [("images", image)], [], []),
        ("PreviewImage", [("images", image)], [], []),
    ]
    saved: list[Graph] = []
    for number, (kind, inputs, outputs, values) in enumerate(nodes, 1):
        to = {link[4]: link[0] for link in links if link[3] == number}
        sockets = [{"name": name, "type": of, "link": to.get(slot)} for slot, (name, of) in enumerate(inputs)]
        made = [
            {"name": name, "type": of, "links": [link[0] for link in links if link[1:3] == [number, slot]]}
            for slot, (name, of) in enumerate(outputs)
        ]
        at = {"id": number, "type": kind, "pos": [340 * number, 0], "size": [300, 200], "mode": 0}
        saved.append({**at, "inputs": sockets, "outputs": made, "widgets_values": values})
    file = visit.open_file({"nodes": saved, "links": links, "version": 0.4, "extra": {}})
    assert ["1", 0] in file.prompt["3"]["inputs"].values()
    assert file.prompt["4"]["inputs"]["cast"] == ["2", 0]
    assert visit.run()["status"]["status_str"] == "success"
    assert visit.open_file(visit.canvas.saved()).prompt == file.prompt
