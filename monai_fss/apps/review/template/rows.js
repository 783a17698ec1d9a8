// One row for each organ of a scan: pictures, contours as a layer above them, measures and buttons.

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children); // texts are set as text, whatever is in them
  return made;
}

function titleOf(item) {
  return `${content.cases[item.case].name}: ${content.organs[item.label].name}`;
}

function layer(address, text, kind) {
  const size = { width: 3 * content.pixels, height: content.pixels };
  return element("img", { ...size, loading: "lazy", decoding: "async", alt: text, class: kind, src: address });
}

// Where each of the four letters of a plane is, in parts of its edge.
const PLACES = { left: [0, 0.5], right: [1, 0.5], top: [0.5, 0], bottom: [0.5, 1] };

function letters() {
  const planes = Object.values(content.letters);
  return planes.flatMap((four, plane) => Object.entries(PLACES).map(([side, [x, y]], index) => {
    const letter = element("span", { class: `letter ${side}`, "aria-hidden": "true" }, four[index]);
    letter.style.left = `${(100 * (plane + x)) / planes.length}%`;
    letter.style.top = `${100 * y}%`;
    return letter;
  }));
}

function picture(item) {
  const own = content.cases[item.case];
  if (item.mm === null) return element("figure", { class: "picture" }, element("p", {}, own.problem || "No picture: the scan was not found."));
  const address = own.images + item.label;
  const text = `${titleOf(item)}: axial, coronal and sagittal plane`;
  const figure = element("figure", { class: "picture" }, layer(address + ".jpg", text, "scan"), layer(address + ".svg", "", "contours"), ...letters());
  figure.firstChild.addEventListener("error", () => figure.replaceChildren(element("p", {}, `The picture ${address}.jpg is missing: run monai-fss review again.`)));
  return figure;
}

function number(value, digits) {
  return value === null ? "not measured" : value.toFixed(digits);
}

// What the last round of corrections did about a mask.
function changed(item) {
  const old = item.before;
  const parts = [old.mask];
  if (old.quality[0] !== null) parts.push(`quality ${number(old.quality[0], 2)} before, ${number(old.quality[1], 2)} of the new mask`);
  if (old.volume !== null) parts.push(`${number(old.volume, 1)} ml before`);
  return parts.join("; ");
}

// Name, text, and whether it is unusual.
function measures(item) {
  const lines = [["Quality", number(item.quality, 2), false]];
  if (item.dice !== null) lines.push([`Dice, ${item.dice[2]} %`, `${number(item.dice[0], 2)} to ${number(item.dice[1], 2)}, by ${item.dice[3]} corrected masks`, false]);
  if (item.before !== null) lines.push([`Round ${item.before.round}`, changed(item), false]);
  lines.push(["Volume", item.volume === null ? "not measured" : `${item.volume.toFixed(1)} ml`, item.volume === 0]);
  if (item.ratio !== null) lines.push(["of the support's", `${Math.round(100 * item.ratio)} %`, item.ratio < 0.5 || item.ratio > 2]);
  if (item.z !== null) lines.push(["in this folder", `${item.z > 0 ? "+" : ""}${item.z.toFixed(1)} robust SD from the median`, Math.abs(item.z) >= content.far]);
  if (item.pieces !== null) {
    const [least, most] = item.expected || [item.pieces, item.pieces];
    const usual = item.expected ? ` (support: ${least === most ? least : `${least} to ${most}`})` : "";
    lines.push(["Pieces", `${item.pieces}${usual}`, item.pieces < least || item.pieces > most]);
  }
  if (item.note) lines.push(["Note", item.note, true]);
  const own = content.cases[item.case];
  if (own.changed) lines.push(["Scan", "has changed since it was segmented", true]);
  if (own.problem && item.mm !== null) lines.push(["Problem", own.problem, true]);
  if (item.mm !== null) lines.push(["Planes", `${item.mm} mm wide; slices ${item.slices.join(", ")}`, false]);
  return lines;
}

function row(item, index) {
  const organ = content.organs[item.label];
  const swatch = element("span", { class: organ.dashed ? "swatch dashed" : "swatch", "aria-hidden": "true" });
  swatch.style.borderTopColor = organ.colour;
  const list = element("dl", {});
  for (const [name, text, odd] of measures(item)) {
    list.append(element("dt", {}, name), element("dd", odd ? { class: "odd" } : {}, text));
  }
  const buttons = element("div", { class: "verdicts", role: "group", "aria-label": `Verdict on ${titleOf(item)}` });
  for (const verdict of VERDICTS) {
    const button = element("button", { type: "button", class: verdict, "data-verdict": verdict, "aria-pressed": "false" }, verdict);
    button.disabled = item.mask === null;
    buttons.append(button, " ");
  }
  const overlay = content.cases[item.case].overlay;
  const more = overlay ? [element("a", { href: overlay, target: "_blank", rel: "noopener" }, "all slices")] : [];
  if (item.before && item.before.overlay) more.push(" ", element("a", { href: item.before.overlay, target: "_blank", rel: "noopener" }, `all slices before round ${item.before.round}`));
  const side = element("div", {}, element("h2", { id: `title-${index}` }, swatch, titleOf(item)), list, buttons, ...more);
  const made = element("li", { tabindex: "-1", "aria-labelledby": `title-${index}`, "data-index": index }, picture(item), side);
  press(made, verdictOf(item));
  return made;
}

function press(made, verdict) {
  for (const button of made.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
}
