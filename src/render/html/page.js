// What the page is made of, and what its keys and links do. Text of the report becomes text nodes only.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en-US");
const plural = (count, one, many = one + "s") => `${number(count)} ${count === 1 ? one : many}`;

// An element with attributes and children; what is no element becomes text.
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The link to a line of a report.
const lineHash = (report, line) => (report ? `#R${report + 1}L${line}` : `#L${line}`);

function head() {
  byId("title").textContent = data.title;
  byId("generator").textContent = `Made by ${data.generator}; this page loads nothing.`;
  const guilty = data.reports.map((report) => report.crash && report.crash.guilty).find(Boolean);
  if (guilty) {
    const own = guilty.file_of ? null : guilty.file;
    const where = [guilty.function, guilty.module && `[${guilty.module}]`, own].filter(Boolean).join(" ");
    const other = guilty.file_of ? `; ${guilty.file} is the file of ${guilty.file_of}` : "";
    byId("guilty").append(el("code", null, where), (guilty.reason ? ` – ${guilty.reason}` : "") + other);
  }
  const shown = data.reports.slice(0, 12);
  for (const report of shown) byId("sources").append(source(report));
  if (data.all_reports > shown.length) byId("sources").append(el("li", null, `and ${plural(data.all_reports - shown.length, "more report")}`));
  const fact = (value, name, kind) => byId("facts").append(el("div", { class: kind }, el("dt", null, name), el("dd", null, number(value))));
  fact(data.threads, data.threads === 1 ? "thread" : "threads");
  fact(data.all_groups, data.all_groups === 1 ? "distinct stack" : "distinct stacks");
  if (data.blocked) fact(data.blocked, "in uninterruptible sleep", "blocked");
  for (const warning of data.warnings) byId("warning-list").append(el("li", null, warning));
  if (data.all_warnings > data.warnings.length) byId("warning-list").append(el("li", null, `and ${number(data.all_warnings - data.warnings.length)} more`));
  byId("warnings").hidden = !data.warnings.length;
}

function source(report) {
  const facts = [report.format, report.os, report.arch, report.kernel_version, report.slide && `slide ${report.slide}`].filter(Boolean);
  const title = report.crash && data.all_reports > 1 ? `: ${report.crash.title}` : "";
  return el("li", null, el("b", null, report.source), `${title} – ${facts.join(", ")}; ${plural(report.stacks, "stack")}, ${report.resolved}`);
}

function triage() {
  byId("triage").hidden = !data.verdicts.length;
  for (const verdict of data.verdicts) {
    const list = el("ul", null);
    for (const evidence of verdict.evidence.slice(0, 50)) list.append(el("li", null, evidenceLink(evidence), " ", el("code", null, evidence.text)));
    byId("triage").append(el("div", { class: "verdict" }, el("h2", null, verdict.verdict), el("p", null, verdict.why), list));
  }
}

function evidenceLink(evidence) {
  const report = data.reports.findIndex((report) => report.source === evidence.source);
  const text = data.all_reports > 1 ? `${evidence.source}:${evidence.line}` : `line ${evidence.line}`;
  return report < 0 || !data.reports[report].own_text ? text : el("a", { href: lineHash(report, evidence.line) }, text);
}

// Keys of the page; those of a field that is typed into are its own.
function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  const at = document.activeElement;
  if (at === byId("search")) {
    if (event.key === "Escape") clearSearch();
    else if (event.key === "Enter" || event.key === "ArrowDown") moveTo(0);
    else return;
    return event.preventDefault();
  }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return;
  const inList = at.classList.contains("head");
  const step = { j: 1, k: -1, ArrowDown: inList ? 1 : 0, ArrowUp: inList ? -1 : 0 }[event.key];
  if (step) move(step);
  else if (event.key === "/") byId("search").select(), byId("search").focus();
  else if (event.key === "Escape" && byId("search").value) clearSearch();
  else return;
  event.preventDefault();
}

// Where a link of the page leads: a group, a fingerprint, or a line of a report.
function follow() {
  const hash = location.hash.slice(1);
  const group = /^g(\d+)$/.exec(hash);
  const line = /^(?:R(\d+))?L(\d+)$/.exec(hash);
  const print = data.groups.findIndex((group) => hash.length > 3 && group.fingerprint === hash);
  if (group || print >= 0) showGroup(group ? Number(group[1]) - 1 : print);
  else if (line) showLine(Number(line[1] || 1) - 1, Number(line[2]));
}

function start() {
  byId("page").hidden = false;
  head();
  triage();
  startGroups();
  startFlame();
  images();
  startText();
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", follow);
  // A link to where the page already is changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) follow();
  });
  if (location.hash) follow();
}
