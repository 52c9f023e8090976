// The report's own text. It is unpacked when it is looked at, and only the lines in sight are elements.
const LINE = 18;
// Browsers lose precision, or give up, with elements much taller than this.
const TALLEST = 6000000;
const WIDEST = 2000;
const NO_GROUP = 0xffffffff;
const texts = new Map();
const view = { report: -1, text: null, first: -1, at: 0, query: "", wanted: -1 };

async function unpack(id) {
  const packed = atob(byId(id).textContent);
  const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// Everything about the text of one report: the text, where its lines begin, their numbers, and what is known about them.
async function load(report) {
  const [text, lines, notes] = await Promise.all(["text", "lines", "notes"].map((name) => unpack(`${name}-${report}`)));
  const whole = new TextDecoder().decode(text);
  const starts = [];
  for (let at = 0; at < whole.length; at = nextLine(whole, at)) starts.push(at);
  return { whole, starts: Uint32Array.from(starts), lines: new Uint32Array(lines), ...JSON.parse(new TextDecoder().decode(notes)) };
}

function nextLine(text, at) {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end + 1;
}

async function open(report) {
  if (!byId(`text-${report}`)) return false;
  if (!texts.has(report)) texts.set(report, load(report));
  view.wanted = report;
  const text = await texts.get(report);
  if (view.wanted !== report) return false;
  if (view.report !== report) {
    Object.assign(view, { report, text, first: -1, at: 0 });
    byId("which").value = String(report);
    byId("cut").textContent = (data.reports[report] && data.reports[report].cut) || "";
    byId("spacer").style.height = `${Math.min(text.starts.length * LINE, TALLEST)}px`;
    byId("pane").scrollTop = 0;
    drawText();
  }
  return true;
}

// Index of the last entry that is not above `wanted`; `get` reads one.
function lastNotAbove(count, wanted, get) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (get(middle) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// From the number of a row, from 0, to that of its line, and back. A cut report has gaps.
function lineOf(row) {
  for (const [line, count] of view.text.runs) {
    if (row < count) return line + row;
    row -= count;
  }
  return 0;
}

function rowOf(line) {
  let row = 0;
  for (const [from, count] of view.text.runs) {
    if (line < from) return row;
    if (line < from + count) return row + line - from;
    row += count;
  }
  return Math.max(row - 1, 0);
}

const rowsInSight = () => Math.ceil(byId("pane").clientHeight / LINE) + 2;
// How many pixels of rows a pixel of scrolling stands for.
const scale = () => {
  const pane = byId("pane");
  const all = view.text.starts.length * LINE;
  return all > TALLEST ? (all - pane.clientHeight) / Math.max(TALLEST - pane.clientHeight, 1) : 1;
};

function drawText() {
  if (!view.text) return;
  const pane = byId("pane");
  const first = Math.floor((pane.scrollTop * scale()) / LINE);
  if (first === view.first) return;
  view.first = first;
  const rows = [];
  for (let row = first; row < Math.min(first + rowsInSight(), view.text.starts.length); row++) rows.push(textRow(row));
  byId("rows").style.transform = `translateY(${scale() === 1 ? first * LINE : pane.scrollTop}px)`;
  byId("rows").replaceChildren(...rows);
}

function textRow(row) {
  const { whole, starts, lines, notes } = view.text;
  const line = lineOf(row);
  const known = lastNotAbove(lines.length / 3, line, (n) => lines[3 * n]);
  const mine = known >= 0 && lines[3 * known] === line;
  const group = mine && lines[3 * known + 1] !== NO_GROUP ? lines[3 * known + 1] + 1 : 0;
  const note = mine && lines[3 * known + 2] ? notes[lines[3 * known + 2] - 1] : "";
  const text = whole.slice(starts[row], Math.min(row + 1 < starts.length ? starts[row + 1] : whole.length, starts[row] + 4 * WIDEST));
  const link = el("span", { class: "link" }, group ? el("a", { href: `#g${group}`, title: "To the group of this stack" }, `g${group}`) : null);
  return el("div", { class: line === view.at ? "row at" : "row" }, el("a", { class: "number", href: lineHash(view.report, line) }, String(line)), link,
    el("span", null, ...found(visible(text))), note ? el("span", { class: "known", title: note }, note.replace(/\n/g, " ← ")) : null);
}

// What would move or reorder the text around it is shown by its number.
function visible(text) {
  const shown = text.replace(/\r?\n$/, "").replace(/[\0-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, "0")}`;
  });
  return shown.length > WIDEST ? `${shown.slice(0, WIDEST)} … cut` : shown;
}

function found(text) {
  const at = view.query ? text.indexOf(view.query) : -1;
  return at < 0 ? [text] : [text.slice(0, at), el("mark", null, view.query), text.slice(at + view.query.length)];
}

async function showLine(report, line) {
  if (!(await open(report))) return;
  view.at = line;
  const row = rowOf(line);
  const pane = byId("pane");
  pane.scrollTop = Math.max((row - Math.floor(pane.clientHeight / LINE / 3)) * LINE, 0) / scale();
  view.first = -1;
  drawText();
  pane.scrollIntoView({ block: "nearest" });
}

// The next line, or the one before, that holds what is looked for; from the other end when there is none.
async function find(step) {
  view.query = byId("find").value;
  view.first = -1;
  if (!view.query || !(await open(Math.max(view.report, 0)))) return drawText();
  const { whole, starts } = view.text;
  const row = view.at ? rowOf(view.at) : -1;
  const after = row + 1 < starts.length ? starts[row + 1] : whole.length;
  let at = step > 0 ? whole.indexOf(view.query, after) : row > 0 ? whole.lastIndexOf(view.query, starts[row] - 1) : -1;
  const around = at < 0;
  if (around) at = step > 0 ? whole.indexOf(view.query) : whole.lastIndexOf(view.query);
  byId("find-result").textContent = at < 0 ? "not found" : around && row >= 0 ? "from the other end" : "";
  if (at < 0) return drawText();
  return showLine(view.report, lineOf(lastNotAbove(starts.length, at, (n) => starts[n])));
}

function startText() {
  const some = data.reports.map((report, n) => [report.source, n]).filter(([, n]) => byId(`text-${n}`));
  for (const [source, n] of some) byId("which").append(el("option", { value: n }, source));
  byId("which").hidden = some.length < 2;
  byId("which").addEventListener("change", () => open(Number(byId("which").value)));
  byId("pane").addEventListener("scroll", drawText, { passive: true });
  window.addEventListener("resize", () => ((view.first = -1), drawText()));
  byId("find").addEventListener("keydown", (event) => event.key === "Enter" && find(event.shiftKey ? -1 : 1));
  byId("find-next").addEventListener("click", () => find(1));
  byId("find-previous").addEventListener("click", () => find(-1));
  byId("goto").addEventListener("change", () => showLine(Math.max(view.report, 0), Number(byId("goto").value)));
  const looked = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    looked.disconnect();
    if (view.report < 0 && some.length) open(0);
  });
  looked.observe(byId("pane"));
}
