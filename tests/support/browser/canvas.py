"""The graph that the editor shows, and how it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import playwright.sync_api as playwright

from .node_on_page import NodeOnPage

Graph = dict[str, Any]

# Until for ten frames no node has moved, come or gone, three seconds at most. Frames are as long as a page needs that
# is still at work; where nobody looks, none may be drawn.
_SETTLE = """
async () => {
  const frame = () => new Promise(next => {
    requestAnimationFrame(() => setTimeout(next, 20));
    setTimeout(next, 60);
  });
  const drawn = node => document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect() ?? {};
  const places = () => JSON.stringify((window.app?.graph?._nodes ?? []).map(node => {
    const {x, y, width, height} = drawn(node);
    return [node.id, node.type, ...node.pos, ...node.size, x, y, width, height];
  }));
  const begun = performance.now();
  let unchanged = 0;
  let before = '';
  while (unchanged < 10 && performance.now() - begun < 3000) {
    await frame();
    const now = places();
    unchanged = now === before ? unchanged + 1 : 0;
    before = now;
  }
}
"""

_VIEW = """
() => {
  const {scale, offset} = app.canvas.ds;
  const nodes = app.graph._nodes;
  const sidesOnCanvas = node => {
    const needed = node.computeSize();
    const [width, height] = node.flags.collapsed
      ? [node.size[0], 0]
      : node.size.map((side, i) => Math.max(side, needed[i]));
    const [x, y] = node.pos.map((at, i) => (at + offset[i]) * scale);
    return {left: x, top: y - 30 * scale, right: x + width * scale, bottom: y + height * scale};
  };
  const sides = node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`);
    if (!element) return sidesOnCanvas(node);
    const {left, top, right, bottom} = element.getBoundingClientRect();
    return {left, top, right, bottom};
  };
  return {
    scale,
    is_without_text: !!app.canvas.low_quality,
    unknown_types: nodes.filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type),
    nodes: nodes.map(node => ({title: node.title, ...sides(node)})),
  };
}
"""

_OUT_OF_GROUPS = """
() => {
  const groups = app.graph._groups.map(({pos: [left, top], size: [width, height]}) =>
    ({left, top, right: left + width, bottom: top + height}));
  const size = node => {
    if (node.flags.collapsed) return [0, 0];
    const needed = node.computeSize();
    return node.size.map((side, i) => Math.max(side, needed[i]));
  };
  const reachesOut = node => {
    const [x, y] = node.pos;
    const [width, height] = size(node);
    const group = groups.find(({left, top, right, bottom}) => left <= x && x < right && top <= y && y < bottom);
    return !group || x + width > group.right || y + height > group.bottom;
  };
  return app.graph._nodes.filter(reachesOut).map(({title}) => title);
}
"""

# Of a note the text is hidden below what it looks like.
_CUT_TEXTS = """
() => {
  const pen = document.createElement('canvas').getContext('2d');
  const isLongerThanGroup = ({title, font_size: height, size: [width]}) => {
    pen.font = `${height}px ${LiteGraph.GROUP_FONT}`;
    return height / 2 + pen.measureText(title).width > width;
  };
  const isCut = ({value, offsetParent, scrollHeight, clientHeight}) =>
    offsetParent && !value.startsWith('## ') && scrollHeight > clientHeight + 2;
  const texts = [...document.querySelectorAll('textarea')].filter(isCut).map(({value}) => value);
  return [...texts, ...app.graph._groups.filter(isLongerThanGroup).map(({title}) => title)];
}
"""

# As the host tells of a run; boxes show what is inside of them.
_SHOW_PICTURES = """
kinds => {
  const images = [{filename: 'example.png', subfolder: '', type: 'input'}];
  const show = (graph, path) => graph.nodes.filter(node => !node.mode).forEach(node => {
    const id = `${path}${node.id}`;
    const detail = {node: id, display_node: id, output: {images}};
    if (kinds.includes(node.type)) app.api.dispatchEvent(new CustomEvent('executed', {detail}));
    if (node.subgraph) show(node.subgraph, `${id}:`);
  });
  show(app.rootGraph ?? app.graph, '');
}
"""
_HAS_LOADED = "[...document.querySelectorAll('[data-node-id] img')].every(picture => picture.complete)"


def node(kind: str, **inputs: Any) -> Graph:
    """An entry of a prompt. The editor gives the node its own title."""
    return {"class_type": kind, "inputs": inputs}


@dataclass(frozen=True)
class DrawnNode:
    """A node as it is seen: its title, and its sides in px of the page."""

    title: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, neighbour: DrawnNode) -> bool:
        is_beside = self.right <= neighbour.left or neighbour.right <= self.left
        is_above = self.bottom <= neighbour.top or neighbour.bottom <= self.top
        return not is_beside and not is_above


@dataclass(frozen=True)
class View:
    """How the graph is seen. scale: 1 is as large as on the screen. unknown_types: of nodes that no pack here has."""

    scale: float
    is_without_text: bool
    unknown_types: list[str]
    nodes: list[DrawnNode]


class Canvas:
    """The graph of the tab in front."""

    def __init__(self, page: playwright.Page) -> None:
        self._page = page

    def settle(self) -> None:
        """Wait until no node moves, comes or goes any more."""
        self._page.evaluate(_SETTLE)

    # Nodes

    def node(self, node_id: int | str) -> NodeOnPage:
        return NodeOnPage(self._page, node_id)

    def node_of(self, *kinds: str) -> NodeOnPage:
        """The node of these classes that was added last to the graph that is open."""
        number = self._page.evaluate(
            "kinds => app.canvas.graph._nodes.findLast(node => kinds.includes(node.type))?.id ?? null", kinds
        )
        assert number is not None, f"no {' or '.join(kinds)} in the graph that is open: {self.kinds()}"
        return NodeOnPage(self._page, number)

    def last_node(self) -> NodeOnPage:
        return NodeOnPage(self._page, self._page.evaluate("app.canvas.graph._nodes.at(-1).id"))

    def kinds(self) -> list[str]:
        """The classes of all nodes."""
        return self._page.evaluate("app.canvas.graph._nodes.map(node => node.type)")

    def values(self) -> list[list[Any]]:
        """The values of every node."""
        return self._page.evaluate(
            "app.canvas.graph._nodes.map(node => (node.widgets ?? []).map(widget => widget.value))"
        )

    # The file and the prompt

    def saved(self) -> Graph:
        """The file as it would be saved."""
        return self._page.evaluate("JSON.parse(JSON.stringify(app.graph.serialize()))")

    def prompt(self) -> Graph:
        """What Run would send."""
        return self._page.evaluate("async () => JSON.parse(JSON.stringify((await app.graphToPrompt()).output))")

    def prompt_with_mode(self, node_id: int, mode: int) -> Graph:
        """What Run would send with a node switched off. mode: 2 is muted, 4 is bypassed."""
        node = self.node(node_id)
        node.evaluate("(node, mode) => void (node.mode = mode)", mode)
        prompt = self.prompt()
        node.evaluate("node => void (node.mode = 0)")
        return prompt

    # What people do with it

    def clear(self) -> None:
        """Leave nothing but a note far away: a page that opens again with an empty graph would never be ready."""
        self._page.evaluate("""() => {
            app.graph.clear();
            app.graph.add(Object.assign(LiteGraph.createNode('Note'), {pos: [-9999, -9999]}));
        }""")

    def paste(self, nodes: Sequence[Graph], subgraphs: Sequence[Graph] = ()) -> None:
        """Put down nodes as a paste does."""
        self._page.evaluate(
            "([nodes, subgraphs]) => void app.canvas._deserializeItems({nodes, subgraphs}, {position: [0, 0]})",
            [list(nodes), list(subgraphs)],
        )

    def put_down_blueprint(self, graph: Graph) -> None:
        """Put down a blueprint, as from the list of nodes."""
        self.paste(graph["nodes"], graph["definitions"]["subgraphs"])

    def copy_and_paste(self, nodes: Sequence[NodeOnPage], x: float, y: float) -> None:
        self._page.evaluate(
            """([ids, x, y]) => {
                app.canvas.copyToClipboard(ids.map(id => app.canvas.graph.getNodeById(id)));
                app.canvas.pasteFromClipboard({position: [x, y]});
            }""",
            [[node.id for node in nodes], x, y],
        )

    def note_change(self) -> None:
        """Let the editor see that something has changed, as it does after a click: then it can be undone."""
        self._page.evaluate("""() => {
            const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker;
            (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
        }""")

    def undo(self) -> None:
        """Take back what was noted last."""
        self._page.evaluate("app.extensionManager.workflow.activeWorkflow.changeTracker.undo().then(() => true)")
        self.settle()

    def go_into_new_subgraph_of(self, node: NodeOnPage) -> None:
        """Make a subgraph of a node, and open it."""
        node.evaluate(
            "node => app.canvas.setGraph(app.canvas.graph.convertToSubgraph(new Set([node])).subgraph) ?? null"
        )

    def leave_subgraph(self) -> None:
        self._page.evaluate("void app.canvas.setGraph(app.graph)")

    def add_primitive_and_reroute(self) -> Graph:
        """Give the sides of a group's picture by a Primitive, and its places through a Reroute. Returns the file."""
        self._page.evaluate("""() => {
            const add = kind => {
                const node = LiteGraph.createNode(kind);
                app.graph.add(node);
                return node;
            };
            const primitive = add('PrimitiveNode');
            const reroute = add('Reroute');
            const layout = app.graph._nodes.find(node => node.type === 'LikenessLayoutForAGroup');
            const {target_id, target_slot} = app.graph.getLink(layout.outputs[0].links[0]);
            layout.connect(0, reroute, 0);
            reroute.connect(0, app.graph.getNodeById(target_id), target_slot);
            for (const side of ['width', 'height'])
                primitive.connect(0, layout, layout.inputs.findIndex(slot => slot.name === side));
        }""")
        return self.saved()

    # How it is seen

    def view(self) -> View:
        fields = self._page.evaluate(_VIEW)
        nodes = [DrawnNode(**node) for node in fields.pop("nodes")]
        return View(**fields, nodes=nodes)

    def show_pictures(self, kinds: Sequence[str]) -> None:
        """Let every node of these classes that is on show a picture, as after a run."""
        self._page.evaluate(_SHOW_PICTURES, list(kinds))
        self._page.wait_for_function(_HAS_LOADED)
        self.settle()

    def is_without_text(self) -> bool:
        """Whether the view is so small that the editor leaves out all text."""
        return self._page.evaluate("!!app.canvas.low_quality")

    def out_of_groups(self) -> list[str]:
        """Titles of classic nodes that begin in a group and reach over its border as they are drawn: the frontend
        widens a node whose labels need it."""
        return self._page.evaluate(_OUT_OF_GROUPS)

    def cut_texts(self) -> list[str]:
        """Texts on classic nodes, and titles of groups, of which the end cannot be seen."""
        return self._page.evaluate(_CUT_TEXTS)
