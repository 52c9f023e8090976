// The flame graph of the groups that the search leaves. Only what is wide enough to be seen becomes an element.
const ROW = 18;
const flame = { root: null, zoom: null, current: null, cells: [] };

function flameTree(shown) {
  const root = { name: "all", module: "", count: 0, children: new Map(), parent: null, depth: 0 };
  for (const group of shown) {
    let node = root;
    root.count += group.count;
    for (const call of calls(group)) node = child(node, call, group.count);
  }
  return root;
}

function child(node, call, count) {
  const key = `${call.module}\n${call.name}\n${call.inlined}`;
  if (!node.children.has(key)) node.children.set(key, { ...call, count: 0, children: new Map(), parent: node, depth: node.depth + 1 });
  const next = node.children.get(key);
  next.count += count;
  return next;
}

// The functions of a group, outermost first; inlined calls are levels of their own.
function calls(group) {
  const found = [];
  let marked = [];
  for (const [n] of group.frames) {
    const frame = data.frames[n];
    if (!frame.reliable) continue;
    const one = (name, inlined) => ({ name, module: frame.module, inlined });
    if (frame.role === "inline") {
      marked.push(one(frame.function, true));
      continue;
    }
    found.push(...(frame.inlined.length ? frame.inlined.map((name) => one(name, true)) : marked), one(frame.function, false));
    marked = [];
  }
  return [...found, ...marked].reverse();
}

function hue(module) {
  if (!module) return 32;
  let hash = 0x811c9dc5;
  for (const c of module) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193) >>> 0;
  return 90 + (hash % 18) * 15;
}

const label = (node) => (node.parent ? node.name + (node.module ? ` [${node.module}]` : "") + (node.inlined ? " (inlined)" : "") : "all");
const share = (node) => `${label(node)} – ${plural(node.count, "thread")}, ${((100 * node.count) / Math.max(flame.root.count, 1)).toFixed(1)} %`;

function drawFlame() {
  flame.root = flameTree(list.shown);
  zoomTo(flame.root);
}

function zoomTo(node) {
  flame.zoom = node;
  flame.current = node;
  const graph = byId("graph");
  const least = 0.5 / Math.max(graph.clientWidth, 300);
  const above = [];
  for (let up = node.parent; up; up = up.parent) above.unshift(up);
  flame.cells = above.map((up) => ({ node: up, from: 0, width: 1, above: true }));
  lay(node, 0, 1, least);
  const deepest = flame.cells.reduce((most, cell) => Math.max(most, cell.node.depth), 0);
  graph.style.height = `${(deepest + 1) * ROW + 2}px`;
  graph.replaceChildren(...(flame.root.count ? flame.cells.map((cell) => cellElement(cell, deepest)) : []));
  say(node);
}

// Children lie side by side in the order of their names, so that the graphs of two reports look alike.
function lay(node, from, width, least) {
  flame.cells.push({ node, from, width, above: false });
  const children = [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (const next of children) {
    const part = (width * next.count) / Math.max(node.count, 1);
    if (part >= least) lay(next, from, part, least);
    from += part;
  }
}

function cellElement(cell, deepest) {
  const { node } = cell;
  const element = el("div", { class: [node.parent ? "" : "all", node.inlined ? "inlined" : "", cell.above ? "above" : ""].join(" ").trim(), title: share(node) }, cell.width > 0.02 ? label(node) : "");
  element.style.left = `${100 * cell.from}%`;
  element.style.width = `${100 * cell.width}%`;
  element.style.top = `${(deepest - node.depth) * ROW}px`;
  element.style.setProperty("--hue", hue(node.module));
  element.addEventListener("click", () => zoomTo(node));
  element.addEventListener("mouseenter", () => say(node));
  cell.element = element;
  return element;
}

function say(node) {
  flame.current = node;
  byId("flame-now").textContent = flame.root.count ? share(node) : "There is nothing to draw.";
  for (const cell of flame.cells) if (cell.element) cell.element.classList.toggle("current", cell.node === node && document.activeElement === byId("graph"));
}

function flameKeys(event) {
  const at = flame.cells.findIndex((cell) => cell.node === flame.current);
  const cell = flame.cells[at];
  const level = cell ? flame.cells.filter((other) => other.node.depth === cell.node.depth) : [];
  const beside = (step) => level[level.indexOf(cell) + step];
  const inner = () => flame.cells.filter((other) => cell && other.node.parent === cell.node).sort((a, b) => b.width - a.width)[0];
  const outer = () => flame.cells.find((other) => cell && other.node === cell.node.parent);
  const to = { ArrowUp: inner, ArrowDown: outer, ArrowLeft: () => beside(-1), ArrowRight: () => beside(1) }[event.key];
  if (to) {
    const next = to();
    if (next) say(next.node);
  } else if (event.key === "Enter" && cell) zoomTo(cell.node);
  else if (event.key === "Escape" && flame.zoom !== flame.root) zoomTo(flame.root);
  else return;
  event.preventDefault();
}

function startFlame() {
  byId("graph").addEventListener("keydown", flameKeys);
  byId("graph").addEventListener("focus", () => say(flame.current));
  byId("graph").addEventListener("blur", () => say(flame.current));
}
