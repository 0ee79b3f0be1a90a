// A template of ours has its title on its tab and fills what the bars leave of the window. The host calls the tab by the
// file's name and fits the graph into three quarters of the window, where notes are 8 px high, and below 8/14 of its size
// a graph has no text at all. What is opened in any other way, from a file or a tab, stays as it was saved.

import { app } from "../../scripts/app.js";
import { titleOf } from "./gallery.js";
import { nodesOf, someAreOurs } from "./ours.js";

// Pixels of the window that tabs, menus and the side bar cover, and some beside them.
const FRAME = { left: 72, top: 96, right: 12, bottom: 12 };
const SMALLEST_READABLE = 0.6;
const LARGEST = 1;
const SCALE_OF_A_PART = 0.75; // where not all of it fits: a line of a note is 10 px high
const TITLE_BAR = 30; // pixels of a node above its position
const FRAME_MILLISECONDS = 100; // at most for a frame: a page that nobody sees draws none

/** The sides of a graph with all its nodes and groups, in pixels of the canvas. */
function sidesOf({ nodes, groups = [] }) {
  const bottom = ({ pos, size, flags }) => pos[1] + (flags.collapsed ? 0 : size[1]);
  const boxes = nodes.map((node) => [node.pos[0], node.pos[1] - TITLE_BAR, node.pos[0] + node.size[0], bottom(node)]);
  for (const { pos: [x, y], size: [width, height] } of groups) boxes.push([x, y, x + width, y + height]);
  const [lefts, tops, rights, bottoms] = [0, 1, 2, 3].map((side) => boxes.map((box) => box[side]));
  return { left: Math.min(...lefts), top: Math.min(...tops), right: Math.max(...rights), bottom: Math.max(...bottoms) };
}

/** How many pixels of the screen a pixel of the graph has where all of it is shown. */
function scaleOf({ left, top, right, bottom }) {
  const across = (window.innerWidth - FRAME.left - FRAME.right) / (right - left);
  const down = (window.innerHeight - FRAME.top - FRAME.bottom) / (bottom - top);
  return Math.min(across, down, LARGEST);
}

const nextFrame = () =>
  new Promise((done) => {
    requestAnimationFrame(done);
    setTimeout(done, FRAME_MILLISECONDS);
  });

/** All of the graph where it can be read so, else its upper left part: the note and the first steps. */
async function frame() {
  // The frontend fits the graph in the frame after it was loaded, and once more where it shows another graph.
  for (let frames = 0; frames < 3; frames++) await nextFrame();
  const { ds, graph, canvas } = app.canvas;
  if (!graph?.nodes?.length) return;
  const sides = sidesOf(graph);
  const whole = scaleOf(sides);
  ds.scale = whole < SMALLEST_READABLE ? SCALE_OF_A_PART : whole;
  const { left, top } = canvas.getBoundingClientRect();
  ds.offset[0] = (FRAME.left - left) / ds.scale - sides.left;
  ds.offset[1] = (FRAME.top - top) / ds.scale - sides.top;
  app.canvas.setDirty(true, true);
}

app.registerExtension({
  name: "likeness.framing",
  init() {
    const { loadGraphData } = app;
    // No event says that a template is opened, and under which name.
    app.loadGraphData = async function (graph, clean, restoreView, name, options, ...rest) {
      // Ours may all be inside of boxes. Frontend 1.27 does not say what it opens.
      const isOurTemplate = (!options || options.openSource === "template") && graph?.nodes && someAreOurs(nodesOf(graph));
      const title = isOurTemplate ? titleOf(name) : name;
      const answer = await loadGraphData.call(this, graph, clean, restoreView, title, options, ...rest);
      if (isOurTemplate && options) await frame();
      return answer;
    };
  },
});
