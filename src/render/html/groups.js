// The list of groups: searched, sorted, opened. Rows are made as far as somebody scrolls.
const PART = 100;
const groups = data.groups.map((group, n) => ({ ...group, n, open: false, row: null, haystack: null }));
const list = { shown: groups, made: 0 };
const largest = groups.reduce((most, group) => Math.max(most, group.count), 1);
const isBlocked = (state) => /^D( |$)/.test(state) || state.split("|").includes("TH_UNINT");
const framesOf = (group) => group.frames.map(([frame, line]) => ({ ...data.frames[frame], line }));
const names = (some) => some.list.map(([name]) => name).join(" ");

// What a word is looked for in, by place.
function haystack(group) {
  if (group.haystack) return group.haystack;
  const frames = framesOf(group);
  const places = {
    module: frames.map((frame) => frame.module || "kernel").join("\n"),
    state: names(group.states) + " ",
    kind: group.kind,
    process: names(group.processes) + "\n" + group.members.map((member) => member[3] || "").join("\n"),
    thread: group.members.map((member) => member[2] || "").join("\n"),
    wait: names(group.waits),
    frame: frames.map((frame) => [frame.text, ...frame.below, frame.function].join("\n")).join("\n"),
    print: group.fingerprint,
  };
  for (const place of Object.keys(places)) places[place] = places[place].toLowerCase();
  group.haystack = { places, all: Object.values(places).join("\n") };
  return group.haystack;
}

function matcher(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const not = word.startsWith("!") && word.length > 1;
    const plain = not ? word.slice(1) : word;
    const [, place, rest] = /^(module|state|kind|process|thread|wait|frame):(.+)$/.exec(plain) || [];
    // A state is a word, and D is none of TH_DEAD.
    const looks = (hay) => (place === "state" ? hay.places.state.split(/[\s|]+/).includes(rest) : place ? hay.places[place].includes(rest) : hay.all.includes(plain));
    return (hay) => looks(hay) !== not;
  });
  return (group) => words.every((word) => word(haystack(group)));
}

const orders = {
  count: (a, b) => a.n - b.n,
  name: (a, b) => compare(a.name, b.name) || a.n - b.n,
  module: (a, b) => compare(moduleOf(a), moduleOf(b)) || a.n - b.n,
  state: (a, b) => compare(names(a.states), names(b.states)) || a.n - b.n,
  order: (a, b) => a.report - b.report || firstLine(a) - firstLine(b),
};
// What has no name comes last.
const compare = (a, b) => (a ? (b ? (a < b ? -1 : a > b ? 1 : 0) : -1) : b ? 1 : 0);
const moduleOf = (group) => (group.interesting === null ? null : data.frames[group.frames[group.interesting][0]].module || "kernel");
const firstLine = (group) => (group.members.length ? group.members[0][1] : 0);

function update() {
  const query = byId("search").value.trim();
  list.shown = (query ? groups.filter(matcher(query)) : groups.slice()).sort(orders[byId("sort").value]);
  list.made = 0;
  byId("list").replaceChildren();
  makeRows(PART);
  const threads = list.shown.reduce((sum, group) => sum + group.count, 0);
  byId("found").textContent = query ? `${number(list.shown.length)} of ${plural(groups.length, "group")}, ${plural(threads, "thread")}` : plural(groups.length, "group");
  for (const chip of byId("chips").children) chip.setAttribute("aria-pressed", query.split(/\s+/).includes(chip.dataset.word));
  drawFlame();
}

function makeRows(count) {
  const part = list.shown.slice(list.made, list.made + count);
  byId("list").append(...part.map(row));
  list.made += part.length;
  const left = list.shown.length - list.made;
  const unlisted = data.all_groups - groups.length;
  const empty = groups.length ? "Nothing matches." : "There are no stacks in what was read.";
  byId("more").textContent = !list.shown.length ? empty : left ? `${number(left)} more below` : unlisted ? `${number(unlisted)} smaller groups are not in this page.` : "";
}

function row(group) {
  if (group.row) return group.row;
  const states = group.states.list.map(([state]) => state);
  const processes = group.processes.list.slice(0, 3).map(([name, count]) => (count > 1 ? `${name} ×${number(count)}` : name)).join(", ");
  const bar = el("i", null);
  bar.style.width = `${(100 * group.count) / largest}%`;
  const [, name, module] = /^(.*?)( \[[^\]]*\])?$/s.exec(group.name || "no kernel frames");
  const button = el("button", { class: "head", type: "button", "aria-expanded": String(group.open) },
    el("span", { class: "count" }, number(group.count)), el("span", { class: "track" }, bar),
    el("span", { class: "name" }, name, el("span", { class: "module" }, module || "")),
    el("span", { class: "who", title: processes }, processes),
    el("span", { class: "state", title: states.join(", ") }, group.kind === "thread" ? states.join(" ") : group.kind));
  button.addEventListener("click", () => toggle(group));
  const blocked = group.kind !== "thread" || states.some(isBlocked) ? " blocked" : "";
  group.row = el("article", { class: `group${blocked}`, id: `g${group.n + 1}` }, el("h3", null, button));
  if (group.open) group.row.append(body(group));
  return group.row;
}

function toggle(group, open = !group.open) {
  if (group.open === open) return;
  group.open = open;
  if (!group.row) return;
  group.row.querySelector(".head").setAttribute("aria-expanded", String(open));
  if (open) group.row.append(body(group));
  else group.row.querySelector(".body").remove();
}

function body(group) {
  const facts = el("dl", { class: "facts" });
  const fact = (name, value) => value && facts.append(el("dt", null, name), el("dd", null, ...[value].flat()));
  const frames = frameList(group);
  fact("States", counted(group.states));
  fact("Processes", counted(group.processes));
  fact("Waiting on", counted(group.waits));
  fact(group.kind === "thread" ? "Threads" : "Stacks", members(group));
  fact("Fingerprint", [el("code", null, group.fingerprint), " ", el("a", { class: "to-here", href: `#g${group.n + 1}` }, "link to this group")]);
  return el("div", { class: "body" }, frames, facts);
}

function counted(some) {
  if (!some.list.length) return null;
  const texts = some.list.map(([name, count]) => (count > 1 ? `${name} ×${number(count)}` : name));
  return texts.join(", ") + (some.all > some.list.length ? ` and ${number(some.all - some.list.length)} more` : "");
}

function members(group) {
  const box = el("div", { class: "ids" });
  group.members.forEach(([report, line, id], n) => box.append(n ? ", " : "", el("a", { href: lineHash(report, line) }, id || `line ${line}`)));
  if (group.all_members > group.members.length) box.append(` and ${number(group.all_members - group.members.length)} more`);
  return box;
}

function frameList(group) {
  const list = el("ol", { class: "frames", "aria-label": "Frames, innermost first" });
  const frames = framesOf(group);
  const doubtful = frames.filter((frame) => !frame.reliable).length;
  frames.forEach((frame, n) => list.append(frameRow(group, frame, n)));
  if (!frames.length) list.append(el("li", null, "", "This stack has no kernel frames."));
  if (!doubtful) return list;
  const show = el("button", { class: "plain unreliable-toggle", type: "button", "aria-pressed": "false" }, `Show ${plural(doubtful, "unreliable frame")}`);
  show.addEventListener("click", () => {
    const shown = show.getAttribute("aria-pressed") !== "true";
    show.setAttribute("aria-pressed", String(shown));
    list.querySelectorAll(".unreliable").forEach((row) => (row.hidden = !shown));
  });
  return el("div", null, list, el("p", null, show));
}

function frameRow(group, frame, n) {
  const kind = n === group.interesting ? "interesting" : group.interesting !== null && n < group.interesting ? "waiting" : "";
  const line = el("a", { class: "at", href: lineHash(group.report, frame.line), title: `line ${frame.line} of the report` }, String(frame.line));
  const mark = { fault: "at ", regs: "registers: ", inline: "inlined: " }[frame.role] || "";
  const text = el("code", { class: kind }, frame.reliable ? "" : "? ", mark, ...emphasized(frame));
  for (const below of frame.below) text.append(el("span", { class: "below" }, below));
  if (frame.trust === "mismatched") text.append(el("span", { class: "tag" }, "other build"));
  if (frame.trust === "unresolved") text.append(el("span", { class: "tag" }, frame.why || "no symbol"));
  const item = el("li", { class: frame.reliable ? null : "unreliable" }, line, text);
  item.hidden = !frame.reliable;
  return item;
}

// The text of a frame with its function emphasized.
function emphasized(frame) {
  const at = frame.symbol ? frame.text.indexOf(frame.symbol) : -1;
  if (at < 0) return [frame.text];
  const end = at + frame.symbol.length;
  return [frame.text.slice(0, at), el("b", null, frame.text.slice(at, end)), frame.text.slice(end)];
}

// The n-th row that is shown gets the focus.
function moveTo(n) {
  if (n < 0 || n >= list.shown.length) return;
  if (n >= list.made) makeRows(n - list.made + PART);
  row(list.shown[n]).querySelector(".head").focus();
}

function move(step) {
  const at = list.shown.findIndex((group) => group.row && group.row.contains(document.activeElement));
  moveTo(at < 0 ? 0 : at + step);
}

function showGroup(n) {
  const group = groups[n];
  if (!group) return;
  if (!list.shown.includes(group)) clearSearch();
  const at = list.shown.indexOf(group);
  if (at >= list.made) makeRows(at - list.made + PART);
  toggle(group, true);
  row(group).scrollIntoView({ block: "start" });
  row(group).querySelector(".head").focus({ preventScroll: true });
}

function clearSearch() {
  byId("search").value = "";
  byId("search").blur();
  update();
}

// Buttons for the states and kinds that occur.
function chips() {
  const kinds = new Map();
  for (const group of groups) if (group.kind !== "thread") kinds.set(group.kind, (kinds.get(group.kind) || 0) + group.count);
  const all = [...data.states.list.slice(0, 8).map(([state, count]) => ["state", state, count]), ...[...kinds].map(([kind, count]) => ["kind", kind, count])];
  if (all.length < 2) return;
  for (const [place, name, count] of all) {
    const word = `${place}:${name.split(/[\s|]/)[0].toLowerCase()}`;
    const chip = el("button", { class: "chip", type: "button", "data-word": word, "aria-pressed": "false" }, name, el("b", null, number(count)));
    chip.addEventListener("click", () => {
      const words = byId("search").value.split(/\s+/).filter(Boolean);
      byId("search").value = (words.includes(word) ? words.filter((other) => other !== word) : [...words.filter((other) => !other.startsWith(`${place}:`)), word]).join(" ");
      update();
    });
    byId("chips").append(chip);
  }
}

function startGroups() {
  chips();
  byId("search").addEventListener("input", update);
  byId("sort").addEventListener("change", update);
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && list.made < list.shown.length && makeRows(PART), { rootMargin: "400px" }).observe(byId("more"));
  if (groups.length && groups.length <= 3) groups.forEach((group) => (group.open = true));
  // On paper nothing can be opened.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = list.shown.slice(0, 50).filter((group) => !group.open);
    opened.forEach((group) => toggle(group, true));
  });
  window.addEventListener("afterprint", () => opened.forEach((group) => toggle(group, false)));
  update();
}
