// What tests/host ask of an open editor: `visitor` on every page, called by chromium.Page.ask.

const waiting = ms => new Promise(done => setTimeout(done, ms));
const all = selector => [...document.querySelectorAll(selector)];
const plain = value => JSON.parse(JSON.stringify(value));
const files = () => app.extensionManager.workflow;
const drawn = (node, inside = '') => document.querySelector(`[data-node-id="${node.id}"]${inside}`);
// In the order of their numbers: a click brings a node to the front.
const boxes = () => (app.rootGraph ?? app.graph)._nodes.filter(node => node.subgraph).sort((a, b) => a.id - b.id);
// Of a Vue node, the line of a value: by the slot that stands before it, as frontend 1.49.6 puts no names on the lines.
const row = (box, name) => {
  const slot = box.inputs.findIndex(input => input.widget && input.name === name);
  const dot = drawn(box, ` [data-slot-key="${box.id}-in-${slot}"]`);
  return dot?.closest('[data-testid=node-widget]');
};
const widget = (box, name) => box.widgets.find(one => one.name === name);
const tracker = () => files().activeWorkflow.changeTracker;
const show = (node, x, y) => {
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [x - node.pos[0], y - node.pos[1]];
  app.canvas.setDirty(true, true);
};

window.visitor = {
  // The page

  loaded: () => !!window.app?.graph && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 50,

  // Its first graph is open.
  ready: () => visitor.loaded() && app.graph._nodes.length > 0,

  // Until for ten frames no node has moved, come or gone, three seconds at most. Frames are as long as a page needs
  // that is still at work; where nobody looks, none may be drawn.
  async settled() {
    const frame = () => new Promise(next => {
      requestAnimationFrame(() => setTimeout(next, 20)); setTimeout(next, 60);
    });
    const places = () => JSON.stringify((window.app?.graph?._nodes ?? []).map(node => {
      const {x, y, width, height} = drawn(node)?.getBoundingClientRect() ?? {};
      return [node.id, node.type, ...node.pos, ...node.size, x, y, width, height];
    }));
    const begun = performance.now();
    for (let still = 0, seen = ''; still < 10 && performance.now() - begun < 3000;) {
      await frame();
      still = places() === seen ? still + 1 : 0;
      seen = places();
    }
  },

  // As it is seen: a word joiner is not.
  text: () => document.body.innerText.replaceAll('\u2060', '').replace(/\s+/g, ' '),

  // In 1.27.10 the mark is on a group of two.
  run: () => (found => found.querySelector('button') ?? found)(document.querySelector('[data-testid=queue-button]'))
    .click(),

  button: words => all('button').find(button => button.innerText.trim() === words),

  runApp: () => all('[data-testid=linear-run-button] button').find(one => one.innerText.trim() === 'Run').click(),

  closeDialogs: () => all('.p-dialog-close-button, .likeness-toast button').forEach(button => button.click()),

  labels: () => all('[data-testid=builder-widget-label]').map(label => label.innerText.trim()),

  // Also what is folded away.
  toasts: () => all('.likeness-toast').map(toast => toast.textContent),

  links: selector => all(selector).map(link => link.href),

  // A page whose toasts stay a tenth of their 30 s, and as it was.
  hurried(real = window.setTimeout) {
    window.setTimeout = (call, ms, ...given) => real(call, ms >= 30000 ? ms / 10 : ms, ...given);
    window.unhurried = () => { window.setTimeout = real; };
  },

  // What is copied is noted, on a page as without https.
  copyAddresses() {
    Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true});
    window.copied = [];
    document.execCommand = () => window.copied.push(getSelection().toString() || document.activeElement.value);
    visitor.button('Copy addresses').click();
  },

  // What frontends keep behind a button.
  details: () => all('button').filter(button => /^(View details|See Errors?|Show details)/i.test(button.innerText.trim()))
    .forEach(button => button.click()),

  // Of an app, how many photos and messages of the host the first toast covers.
  covered() {
    const toast = document.querySelector('.likeness-toast').getBoundingClientRect();
    const host = visitor.button('Show errors in graph').parentElement;
    return [host, ...visitor.photos()].map(part => part.getBoundingClientRect()).filter(part =>
      part.left < toast.right && toast.left < part.right && part.top < toast.bottom && toast.top < part.bottom
    ).length;
  },

  // Of the help page that is open, what reaches over the right border of the panel: it is cut off there.
  cutInHelp() {
    const help = document.querySelector('.node-help-content'), {right} = help.getBoundingClientRect();
    const isCut = part => part.getBoundingClientRect().right > right + 1;
    return [...help.querySelectorAll('table, pre, code, img, p, li')].filter(isCut).map(part => part.innerText.slice(0, 40));
  },

  photos: () => all('img[src*=likeness_]').filter(photo => photo.width),

  // The titles of the cards that the gallery of templates finds, and those that are cut off.
  async gallery(words) {
    if (!visitor.galleryField()) await app.extensionManager.command.execute('Comfy.BrowseTemplates');
    for (let tries = 0; tries < 100 && !visitor.galleryField(); tries++) await waiting(100);
    const field = visitor.galleryField();
    field.value = words;
    field.dispatchEvent(new Event('input', {bubbles: true}));
    const heads = () => all('[data-testid^="template-workflow-"] h3, .p-dialog h3').filter(head => head.offsetParent);
    const titles = () => [...new Set(heads().map(head => head.innerText.trim()))];
    // Until it has shown the same for a second; the search waits for the typing to end.
    for (let tries = 0, still = 0, seen = ''; tries < 60 && still < 4; tries++) {
      await waiting(300);
      const shown = titles().join();
      still = shown && shown === seen ? still + 1 : 0;
      seen = shown;
    }
    const isCut = head => head.scrollHeight > head.clientHeight + 2 || head.scrollWidth > head.clientWidth;
    return [titles(), heads().filter(isCut).map(head => head.innerText.trim())];
  },

  closeGallery: () => document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true})) &&
    all('[role=dialog] button, .p-dialog button').find(one => /close/i.test(one.ariaLabel ?? ''))?.click(),

  // Size of the first toast, and whether the mouse reaches what lies below its text.
  toastAt() {
    const toast = document.querySelector('.likeness-toast'), {left, bottom, width, height} = toast.getBoundingClientRect();
    return [width, height, !toast.contains(document.elementFromPoint(left + 6, bottom - 4))];
  },

  galleryField: () => all('[role=dialog] input, .p-dialog input')
    .find(field => /search/i.test(field.placeholder) || /搜索/.test(field.placeholder)),

  // Graphs

  // A prompt of the API as a graph, its first node in view: whether that is what is open then.
  async load(prompt, kinds) {
    Object.assign(app.canvas.ds, {scale: 1, offset: [0, 0]});
    await app.loadApiJson(prompt, 'visit');
    await visitor.settled();
    return JSON.stringify(app.graph._nodes.map(node => node.type).sort()) === JSON.stringify(kinds);
  },

  // Gives the file as it was saved again, the prompt, and how often the host was asked for translations meanwhile.
  async open(graph, name) {
    performance.clearResourceTimings();  // the browser keeps few
    await app.loadGraphData(graph, true, true, name, {openSource: 'template'});
    await visitor.settled();
    const asked = performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('/i18n')).length;
    return [visitor.saved(), await visitor.prompt(), asked];
  },

  saved: () => plain(app.graph.serialize()),

  prompt: async () => plain((await app.graphToPrompt()).output),

  // Nothing but a note far away: a page that opens again with a graph of nothing would never be ready. A page without a
  // screen does not always play the animation at whose end the cover goes that lies over it while a file is opened.
  clear() {
    app.graph.clear();
    app.graph.add(Object.assign(LiteGraph.createNode('Note'), {pos: [-9999, -9999]}));
  },

  uncover: () => all('.p-overlay-mask-leave').forEach(cover => cover.dispatchEvent(new Event('animationend'))),

  async undo(note = true) {
    if (note) visitor.noted();
    await tracker().undo();
    await visitor.settled();
  },

  noted: () => (tracker().captureCanvasState ?? tracker().checkState).call(tracker()),

  putDown: ({nodes, definitions}) =>
    void app.canvas._deserializeItems({nodes, subgraphs: definitions.subgraphs}, {position: [0, 0]}),

  // How the graph is seen: its scale, whether text is left out, types that are unknown, sides of nodes as drawn.
  seen() {
    const {scale, offset} = app.canvas.ds, nodes = app.graph._nodes;
    const sides = (node, rendered) => {
      if (rendered) return [rendered.left, rendered.top, rendered.right, rendered.bottom];
      const [width, height] = node.flags.collapsed ? [node.size[0], 0]
        : node.size.map((side, i) => Math.max(side, node.computeSize()[i]));
      const [x, y] = node.pos.map((at, i) => (at + offset[i]) * scale);
      return [x, y - 30 * scale, x + width * scale, y + height * scale];
    };
    return [scale, !!app.canvas.low_quality,
      nodes.filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type),
      nodes.map(node => [node.title, sides(node, drawn(node)?.getBoundingClientRect())])];
  },

  // Classic nodes that begin in a group and reach over its border, as drawn: the frontend widens a node whose labels need
  // it.
  outOfGroups() {
    const groups = app.graph._groups.map(({pos: [left, top], size: [width, height]}) =>
      ({left, top, right: left + width, low: top + height}));
    const reachesOut = node => {
      const [x, y] = node.pos, needed = node.flags.collapsed ? [0, 0] : node.computeSize();
      const [width, height] = node.flags.collapsed ? [0, 0] : node.size.map((side, i) => Math.max(side, needed[i]));
      const group = groups.find(({left, top, right, low}) => left <= x && x < right && top <= y && y < low);
      return !group || x + width > group.right || y + height > group.low;
    };
    return app.graph._nodes.filter(reachesOut).map(({title}) => title);
  },

  // Texts on classic nodes of which the end cannot be seen. Of a note the text is hidden below what it looks like.
  cutTexts: () => all('textarea').filter(({value, offsetParent, scrollHeight, clientHeight}) =>
    offsetParent && !value.startsWith('## ') && scrollHeight > clientHeight + 2).map(({value}) => value),

  // A Primitive for the sides of the picture, and a Reroute before the places: the file then.
  addPrimitiveAndReroute() {
    const add = kind => { const node = LiteGraph.createNode(kind); app.graph.add(node); return node; };
    const [primitive, reroute] = ['PrimitiveNode', 'Reroute'].map(add);
    const layout = app.graph._nodes.find(node => node.type == 'LikenessLayoutForAGroup');
    const {target_id, target_slot} = app.graph.getLink(layout.outputs[0].links[0]);
    layout.connect(0, reroute, 0);
    reroute.connect(0, app.graph.getNodeById(target_id), target_slot);
    for (const side of ['width', 'height'])
      primitive.connect(0, layout, layout.inputs.findIndex(slot => slot.name == side));
    return visitor.saved();
  },

  async promptWithMode(number, mode) {
    const node = app.graph.getNodeById(number);
    node.mode = mode;
    const prompt = await visitor.prompt();
    node.mode = 0;
    return prompt;
  },

  // A cast, the last added of several

  cast: () => app.canvas.graph._nodes.findLast(node => /^Likeness(Cast|CastFromPhotos)$/.test(node.type)),

  // Its slots as they are seen, linked ones with a star.
  slots() {
    const cast = visitor.cast(), slot = name => cast.inputs.findIndex(input => input.name == name);
    const rows = all(`[data-node-id="${cast.id}"] .lg-slot--input`);
    const named = text => cast.inputs.find(({label, localized_name, name}) => [label, localized_name, name].includes(text));
    const shown = rows.length
      ? rows.map(row => row.innerText.trim()).filter(text => text).map(text => named(text)?.name ?? text) // widgets' have none
      : cast.inputs.filter(input => !input.widget).map(input => input.name);
    return shown.map(name => name + (cast.isInputConnected(slot(name)) ? '*' : '')).join(' ');
  },

  unlink(name) {
    const cast = visitor.cast();
    cast.disconnectInput(cast.inputs.findIndex(input => input.name == name));
  },

  unlinkAll: () => visitor.cast().inputs.forEach((_, slot) => visitor.cast().disconnectInput(slot)),

  link(name) {
    const cast = visitor.cast(), person = app.graph._nodes.find(node => node.type == 'LikenessPerson');
    person.connect(0, cast, cast.inputs.findIndex(input => input.name == name));
  },

  copy() {
    app.canvas.copyToClipboard([visitor.cast()]);
    app.canvas.pasteFromClipboard({position: [900, 900]});
  },

  // The first cast goes into a subgraph, which is opened.
  wrap() {
    const first = app.graph._nodes.find(node => node.type == visitor.cast().type);
    app.canvas.setGraph(app.canvas.graph.convertToSubgraph(new Set([first])).subgraph);
  },

  // Boxes of people that are dragged

  layout: () => app.graph._nodes.find(node => node.type == 'LikenessLayoutFromBoxes'),

  layoutText: () => widget(visitor.layout(), 'text'),

  places: () => visitor.saved().nodes.find(node => node.type == 'LikenessLayoutFromBoxes').widgets_values.at(-2),

  editor: () => document.querySelector('[data-testid=bounding-boxes] canvas'),

  // The whole editor in view, every pixel of the page as large as it is: its place and size.
  async showEditor() {
    show(visitor.layout() ?? app.graph._nodes.find(node => node.type == 'LikenessPerson'), 150, 30);
    await visitor.settled();
    const {left, top, width, height} = visitor.editor().getBoundingClientRect();
    return [left, top, width, height];
  },

  // Boxes of templates and blueprints

  boxes: () => boxes().length,

  // Of every box, by the names of its values: what is shown, and what is sent to each input inside.
  async values() {
    const output = await visitor.prompt();
    const shown = (box, name) => {
      const line = row(box, name), field = line?.querySelector('textarea, input');
      const toggle = line?.querySelector('[role=switch]');
      if (toggle) return toggle.ariaChecked === 'true' || toggle.checked === true;
      if (line) return field ? field.value : line.querySelector('[role=combobox]').innerText;
      return widget(box, name).element?.value ?? widget(box, name).value;
    };
    const sent = (box, name) => box.subgraph.inputs.find(slot => slot.name === name).linkIds.flatMap(id => {
      const {target_id} = box.subgraph.getLink(id);
      // Not by the link's own slot: frontend 1.49.6 sorts the inputs of a blueprint that is put down, and leaves in its
      // links where they stood before.
      const input = box.subgraph.getNodeById(target_id).inputs.find(slot => slot.link === id);
      return output[`${box.id}:${target_id}`]?.inputs[input.widget?.name ?? input.name] ?? [];
    });
    const names = box => box.inputs.filter(one => one.widget && one.link == null).map(({name}) => name);
    return boxes().map(box => Object.fromEntries(names(box).map(name => [name, [shown(box, name), ...sent(box, name)]])));
  },

  // By name, the kind of each value that a box shows, and what there is to choose from.
  kinds: () => boxes().map(box => Object.fromEntries(
    box.widgets.filter(({name}) => name).map(({name, type, options}) => [name, [type, plain(options.values ?? [])]]))),

  // Whether each value has another one to choose.
  others: () => boxes().map(box => Object.fromEntries(box.widgets.map(({name, type, value, options}) => [name,
    type !== 'combo' || (options.values.call?.() ?? options.values).some(other => other !== value)]))),

  // Brings a box into view and gives, by name of a value, left, right and middle of its line in px.
  async bring(number) {
    const box = boxes()[number];
    show(box, 400, 120);
    await waiting(300);
    const {left, top} = app.canvas.canvas.getBoundingClientRect();
    return Object.fromEntries(box.widgets.filter(({name}) => name).map(({name, y}) =>
      [name, [left + 400, left + 400 + box.size[0], top + 120 + y + 10]]));
  },

  // Into a field of text; whether there is one.
  field(number, name) {
    const box = boxes()[number], line = row(box, name);
    const field = line ? line.querySelector('textarea, input:not([role=spinbutton])') : widget(box, name).element;
    field?.focus();
    field?.select();
    return !!field;
  },

  dialog() {
    const field = document.querySelector('.graphdialog input, .graphdialog textarea');
    field?.select();
    return !!field;
  },

  valueOf: (number, name) => widget(boxes()[number], name).value,

  // Another number, or another word of a list.
  async choose(number, name) {
    const line = row(boxes()[number], name);
    const toggle = line.querySelector('[role=switch]');
    if (toggle) return toggle.click();
    const [more, list] = ['[data-testid=increment]', '[role=combobox]'].map(button => line.querySelector(button));
    if (more) return (more.disabled ? line.querySelector('[data-testid=decrement]') : more).click();
    const before = list.innerText, options = () => all('[role=option]');
    list.click();
    for (let frame = 0; frame < 50 && !options().length; frame++) await waiting(20);
    (options().find(option => option.innerText.trim() !== before.trim()) ?? list).click();
    for (let frame = 0; frame < 50 && options().length; frame++) await waiting(20);
  },

  async copyBoxes() {
    app.canvas.copyToClipboard(boxes());
    app.canvas.pasteFromClipboard({position: [0, 3000]});
    await visitor.settled();
    visitor.noted();
  },

  // To the tab before this one and back. Older editors keep the tabs twice, one row out of sight.
  async anotherTab() {
    const place = files().openWorkflows.indexOf(files().activeWorkflow);
    for (const tab of [place - 1, place]) {
      all('.workflow-tab').filter(one => one.offsetParent).at(tab).click();
      await visitor.settled();
    }
  },

  async exportAndImport() {
    const {workflow} = await app.graphToPrompt();
    await app.loadGraphData();
    await app.handleFile(new File([JSON.stringify(workflow)], 'mine.json', {type: 'application/json'}));
  },

  isSaved: () => (({isPersisted, isModified}) => isPersisted && !isModified)(files().activeWorkflow),
};
