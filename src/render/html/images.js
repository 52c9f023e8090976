// The images of each report, and whether their symbol files are the right builds.
function images() {
  for (const report of data.reports) if (report.images.length) byId("image-tables").append(imageTable(report));
  if (!byId("image-tables").children.length) byId("image-tables").append(el("p", { class: "hint" }, "The reports name no image, and no symbol file was given."));
}

function imageTable(report) {
  const head = el("tr", null, ...["Image", "Status", "Load address", "Size", "UUID or build id", "Symbol file"].map((name) => el("th", { scope: "col" }, name)));
  const table = el("table", null, data.all_reports > 1 ? el("caption", null, report.source) : null, el("thead", null, head), el("tbody", null, ...report.images.map(imageRow)));
  const more = report.all_images - report.images.length;
  return el("div", { class: "wide" }, table, more ? el("p", { class: "hint" }, `and ${plural(more, "more image")}`) : null);
}

function imageRow(image) {
  const status = el("td", null, el("span", { class: image.status }, image.status), image.why ? el("span", { class: "why" }, image.why) : null);
  const fact = (text) => el("td", { class: "mono" }, text || "–");
  const name = el("td", null, image.name + (image.version ? ` (${image.version})` : ""));
  return el("tr", null, name, status, fact(image.load), fact(image.size), fact(image.id), el("td", { class: "file" }, image.file || "–"));
}
