// Which rows are shown, which one is current, and what keys and buttons do.

const PAGE = 20; // rows in the document at once: the browser holds no more pictures than theirs
const by = (id) => document.getElementById(id);
const body = document.body;
let shown = [];
let current = 0;
let first = -1; // of the rows in the document

const ORDERS = {
  quality: () => 0, // as they come
  volume: (a, b) => Math.abs(b.z || 0) - Math.abs(a.z || 0),
  case: (a, b) => a.case - b.case || a.label - b.label,
};

function refresh(stay) {
  const kept = stay ? shown[current] : undefined;
  const [organ, part, verdict] = [by("organ").value, by("case").value.toLowerCase(), by("verdict").value];
  shown = content.items.filter((item) => (
    (!organ || String(item.label) === organ) &&
    (!part || content.cases[item.case].name.toLowerCase().includes(part)) &&
    (!verdict || (verdictOf(item) || "open") === verdict)
  ));
  if (by("order").value !== "quality") shown.sort(ORDERS[by("order").value]);
  first = -1;
  show(Math.max(0, shown.indexOf(kept)), false);
}

// Make a row the current one, on the page that it is on.
function show(index, focus = true) {
  current = Math.min(Math.max(0, index), Math.max(0, shown.length - 1));
  const start = current - (current % PAGE);
  if (start !== first) {
    first = start;
    for (const old of by("rows").querySelectorAll("img")) old.removeAttribute("src"); // frees its pixels at once
    by("rows").replaceChildren(...shown.slice(start, start + PAGE).map((item, offset) => row(item, start + offset)));
    if (!shown.length) by("rows").append(element("li", {}, "No mask fits these filters."));
  }
  for (const made of by("rows").children) {
    const own = made.dataset.index === String(current);
    made.classList.toggle("current", own);
    if (own) made.setAttribute("aria-current", "true");
    else made.removeAttribute("aria-current");
    if (own && focus) made.focus({ preventScroll: true });
    if (own && focus) made.scrollIntoView({ block: "nearest" });
  }
  for (const place of document.querySelectorAll(".pages")) {
    const last = Math.min(first + PAGE, shown.length);
    place.querySelector(".where").textContent = shown.length ? `${first + 1} to ${last} of ${shown.length}` : "none";
    place.querySelector(".before").disabled = first === 0;
    place.querySelector(".after").disabled = last >= shown.length;
  }
}

function judge(index, verdict, goOn) {
  const item = shown[index];
  if (!item || item.mask === null) return say(item ? `${titleOf(item)}: has no mask to judge.` : "No mask is shown.");
  setVerdict(item, verdict);
  const made = by("rows").querySelector(`[data-index="${index}"]`);
  if (made) press(made, verdict);
  say(`${titleOf(item)}: ${verdict || "verdict taken back"}`);
  summarise();
  show(goOn ? index + 1 : index);
}

function summarise() {
  const counts = { pass: 0, fail: 0, fix: 0, "": 0 };
  for (const item of judged) counts[verdictOf(item)] += 1;
  const done = judged.length - counts[""];
  by("summary").textContent = `${content.cases.length} scan(s) by ${content.bundle}; ${done} of ${judged.length} organs reviewed: ${counts.pass} pass, ${counts.fail} fail, ${counts.fix} fix`;
}

function nextOrgan() {
  const choice = by("organ");
  choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
  refresh(false);
  say(`Organ: ${choice.selectedOptions[0].textContent}`);
  show(0);
}

function toggleContours() {
  by("contours").checked = !by("contours").checked;
  prefer();
}

function prefer() {
  body.classList.toggle("without-contours", !by("contours").checked);
  store("preferences", { contours: by("contours").checked, keys: by("keys").checked });
}

const KEYS = {
  n: () => show(current + 1), j: () => show(current + 1), b: () => show(current - 1), k: () => show(current - 1),
  p: () => judge(current, "pass", true), f: () => judge(current, "fail", true), x: () => judge(current, "fix", true),
  u: () => judge(current, "", false), o: nextOrgan, c: toggleContours,
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("select, textarea, input:not([type=checkbox])");
  const action = KEYS[event.key.toLowerCase()];
  if (!action || typing || event.ctrlKey || event.altKey || event.metaKey || !by("keys").checked) return;
  event.preventDefault();
  action();
});

by("rows").addEventListener("click", (event) => {
  const made = event.target.closest("li[data-index]");
  if (!made) return;
  const button = event.target.closest("[data-verdict]");
  const index = Number(made.dataset.index);
  if (button) judge(index, button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.verdict, false);
  else if (!event.target.closest("a")) show(index);
  if (button) button.focus({ preventScroll: true });
});

for (const place of document.querySelectorAll(".pages")) {
  place.querySelector(".before").addEventListener("click", () => show(first - PAGE));
  place.querySelector(".after").addEventListener("click", () => show(first + PAGE));
}
for (const id of ["organ", "verdict"]) by(id).addEventListener("change", () => refresh(true));
by("order").addEventListener("change", () => refresh(false));
by("case").addEventListener("input", () => refresh(true));
for (const id of ["contours", "keys"]) by(id).addEventListener("change", prefer);

by("export").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([reviewText()], { type: "application/json" }));
  element("a", { href: address, download: "review.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  say("review.json was saved: monai-fss review OUT --verdicts review.json reads it.");
});
by("import").addEventListener("click", () => by("file").click());
by("file").addEventListener("change", async () => {
  const [file] = by("file").files;
  if (!file) return;
  try {
    const [taken, old] = takeReview(await file.text());
    say(`${file.name}: ${taken} verdict(s) taken${old ? `; ${old} are of masks that have changed or are not here` : ""}`);
  } catch (error) {
    say(`${file.name}: ${error.message}. Nothing was taken.`);
  }
  by("file").value = "";
  summarise();
  refresh(true);
});
addEventListener("storage", (event) => { // another window of this page
  if (event.key !== STORE + content.run) return;
  Object.assign(verdicts, stored(content.run));
  summarise();
  refresh(true);
});

function listed(id, title, texts) {
  by(id).hidden = !texts.length;
  by(id).querySelector("summary").textContent = title;
  by(id).querySelector("ul").replaceChildren(...texts.map((text) => element("li", {}, text)));
  by(id).open = texts.length <= 20;
}

listed("remarks", "Remarks", content.notes);
listed("failed", `${content.failed.length} scan(s) could not be segmented`, content.failed.map((own) => `${own.case}: ${own.reason}`));
by("organ").append(element("option", { value: "" }, "all"), ...Object.entries(content.organs).map(([value, organ]) => element("option", { value }, organ.name)));
new ResizeObserver(([header]) => body.style.setProperty("--header", `${header.target.offsetHeight}px`)).observe(document.querySelector("header"));
const preferences = stored("preferences");
for (const id of ["contours", "keys"]) if (preferences[id] === false) by(id).checked = false;
body.classList.toggle("without-contours", !by("contours").checked);
summarise();
refresh(false);
