// Runs in a copy of the page, does what a reader does, and writes what it saw into the document.
const wait = (holds) => new Promise((done, fail) => {
  let left = 400;
  const again = () => (holds() ? done() : left-- ? setTimeout(again, 25) : fail(new Error(`waited in vain for ${holds}`)));
  again();
});
const type = (text) => {
  byId("search").value = text;
  byId("search").dispatchEvent(new Event("input"));
};
const press = (key) => (document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const shown = () => [...document.querySelectorAll(".group .name")].map((name) => name.textContent);
const counts = () => [...document.querySelectorAll(".group .count")].map((count) => Number(count.textContent.replace(/,/g, "")));
const focused = () => document.activeElement.closest(".group") && document.activeElement.closest(".group").id;

async function selftest() {
  const seen = {};
  seen.all = shown();
  seen.counts = counts();
  press("/");
  seen.slash = document.activeElement.id;
  type("zio_wait");
  seen.found = shown();
  seen.said = byId("found").textContent;
  seen.flame = [...document.querySelectorAll("#graph div")].map((cell) => cell.title);
  type("state:d !zio_wait");
  seen.without = shown();
  type("nothing of the kind");
  seen.none = [shown().length, byId("more").textContent];
  press("Escape");
  seen.cleared = shown().length;
  byId("sort").value = "name";
  byId("sort").dispatchEvent(new Event("change"));
  seen.sorted = shown();
  byId("sort").value = "count";
  byId("sort").dispatchEvent(new Event("change"));
  press("j");
  press("j");
  seen.second = focused();
  press("k");
  seen.first = focused();
  document.activeElement.click();
  seen.frames = [...document.querySelectorAll(".group .body li:not([hidden]) code")].map((code) => code.textContent);
  seen.links = [...document.querySelectorAll(".group .body a.at")].map((link) => link.getAttribute("href"));
  document.activeElement.click();
  seen.closed = document.querySelectorAll(".group .body").length;
  location.hash = "#g2";
  await wait(() => document.querySelector("#g2 .body"));
  location.hash = `#${data.groups[0].fingerprint}`;
  await wait(() => document.querySelector("#g1 .body"));
  location.hash = "#L3";
  await wait(() => document.querySelector(".row.at"));
  seen.line = document.querySelector(".row.at .number").textContent;
  seen.text = [...document.querySelectorAll(".row")].slice(0, 12).map((row) => row.textContent);
  seen.toGroup = document.querySelectorAll(".row .link a").length;
  byId("find").value = "schedule";
  await find(1);
  seen.find = document.querySelector(".row.at mark").textContent;
  window.dispatchEvent(new Event("beforeprint"));
  seen.printed = document.querySelectorAll(".group .body").length;
  seen.injected = document.querySelectorAll("img, b[id], iframe, object, embed, script[src], link").length + (window.owned ? 1 : 0);
  seen.loads = performance.getEntriesByType("resource").map((entry) => entry.name);
  return seen;
}

selftest().catch((error) => ({ error: String(error && error.stack) })).then((seen) => {
  document.body.append(el("pre", { id: "selftest" }, btoa(unescape(encodeURIComponent(JSON.stringify(seen))))));
});
