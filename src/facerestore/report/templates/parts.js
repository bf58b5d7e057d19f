"use strict";
const QUANTITIES = {
  identity: ["Likeness to the original", "", "Cosine of the identity network's vectors: 1 is the same face, below 0.35 it counts as another."],
  sharpness: ["Sharpness", "", "Fine detail of the inner face over its contrast. More is sharper, noise counts as detail, too."],
  temporal: ["Temporal error, against before", " codes", "How much neighbouring frames of the restored face change otherwise than those of the original. Noise and flicker that are gone count, too."],
  eyes: ["Flicker of the eyes", " codes", "How far a frame is off the mean of its two neighbours around the eyes. Less is steadier."],
  mouth: ["Flicker of the mouth", " codes", "The same around the mouth, where speech counts as well, before and after alike."],
  mask: ["Mask area", " %", "Share of the picture under the face's mask; nothing outside of it is touched."],
  score: ["Detector score", "", "How sure the detector is of the face, 0 to 1."],
  changed: ["Visibly changed", " %", "Share of the picture whose brightness differs by more than 8 of 255 codes, by restoring or by encoding the film again."],
  holes: ["Holes to fill", " %", "Share of the picture that is white in the mask of inpainting."],
};
const PERCENT = new Set(["mask", "changed", "holes"]);
const UP_TO_ONE = new Set(["identity", "score"]);

// ---- what runs along the time: plots, stacking pictures --------------------------------------
/** A line that shows the current moment over a node that spans [from, to] seconds; clicks go there. */
function overTime(node, from, to) {
  const cursor = make("span", { class: "cursor" });
  node.append(cursor);
  const span = Math.max(to - from, 1e-6);
  followers.push((seconds) => {
    cursor.hidden = seconds < from - frameSeconds || seconds > to + frameSeconds;
    cursor.style.left = `${Math.min(100, Math.max(0, (100 * (seconds - from)) / span))}%`;
  });
  node.addEventListener("click", (event) => {
    const box = node.getBoundingClientRect();
    goToSeconds(from + (span * (event.clientX - box.left)) / box.width);
  });
}

function pathOf(values, low, high) {
  const x = (i) => ((100 * (i + 0.5)) / values.length).toFixed(2);
  const y = (value) => (100 - (100 * (value - low)) / (high - low)).toFixed(1);
  let path = "", open = false, gap = 0;
  values.forEach((value, i) => {
    gap = value === null ? gap + 1 : 0;
    if (value === null) { if (gap > 12) open = false; return; }  // detections are some frames apart
    path += `${open ? "L" : "M"}${x(i)} ${y(value)}${open ? "" : "h.01"}`;
    open = true;
  });
  return path;
}

function plot(quantity, lines) {
  const [title, unit, meaning] = QUANTITIES[quantity];
  const scale = PERCENT.has(quantity) ? 100 : 1;
  const all = Object.values(lines).flatMap((line) => line.values.filter((value) => value !== null));
  const most = 1.05 * Math.max(...all, 0) || 1;
  const low = Math.min(0, ...all), high = UP_TO_ONE.has(quantity) ? 1 : PERCENT.has(quantity) ? Math.min(1, most) : most;
  const drawing = make("div", { class: "plot" });
  const svg = make("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" });
  const legend = make("div", { class: "legend" });
  const spoken = [];
  for (const [which, line] of Object.entries(lines)) {
    svg.append(make("path", { class: which, d: pathOf(line.values, low, high) }));
    const name = Object.keys(lines).length > 1 ? `${which} ` : "";
    const entry = make("span", { class: which });
    legend.append(entry);
    followers.push((seconds, number) => {
      const now = line.values[Math.floor((number * line.values.length) / facts.frames)];
      entry.textContent = `${name}mean ${short(line.mean * scale)}${unit} · now ${short(now === null ? null : now * scale)}`;
    });
    spoken.push(`${name}mean ${short(line.mean * scale)}${unit}`);
  }
  svg.setAttribute("aria-label", `${title} over time: ${spoken.join(", ")}`);
  drawing.append(svg, make("span", { class: "top", "aria-hidden": "true" }, short(high * scale)), make("span", { class: "bottom", "aria-hidden": "true" }, short(low * scale)));
  overTime(drawing, 0, facts.seconds);
  const axis = make("div", { class: "axis", "aria-hidden": "true" }, make("span", {}, stamp(0)), make("span", {}, stamp(facts.seconds)));
  const per = Object.values(lines)[0].per;
  const worst = per > 1 ? ` Each point is the worst of ${short(per)} frames.` : "";
  return make("figure", {}, make("figcaption", {}, make("h3", {}, title)), drawing, axis, legend, make("p", { class: "note" }, meaning + worst));
}

// ---- the parts of the page ---------------------------------------------------------------------
function showSummary() {
  const count = facts.people.length + facts.peopleLeftOut;
  const words = [`${facts.width}×${facts.height}`, `${short(facts.rate)} frames a second`, `${facts.frames} frames`, stamp(facts.seconds),
    facts.shots.length + facts.shotsLeftOut === 1 ? "1 shot" : `${facts.shots.length + facts.shotsLeftOut} shots`,
    count === 1 ? "1 person" : `${count || "no"} people`];
  at("summary").textContent = words.join(" · ");
}

function showWarnings() {
  const list = make("ul", { class: "warnings" });
  for (const { text, seconds } of facts.warnings) {
    const when = seconds === null
      ? make("span", { class: "when" }, "whole film")
      : make("button", { type: "button", "aria-label": `Go to ${stamp(seconds)}`, on: { click: () => jump(seconds) } }, stamp(seconds));
    list.append(make("li", {}, when, make("p", {}, text)));
  }
  at("warnings").append(facts.warnings.length ? list : make("p", { class: "quiet" }, "Nothing to warn of."));
  if (facts.warningsLeftOut) at("warnings").append(make("p", { class: "quiet small" }, `and ${facts.warningsLeftOut} more`));
}

function filmstrip(one) {
  const rows = make("div", { class: "rows", "aria-hidden": "true" },
    make("span", { class: "before" }, "before"), make("span", { class: "after" }, "after"), make("span", {}, "change ×4"));
  const tiles = make("div", { class: "tiles", role: "group", "aria-label": "Film strip", tabindex: "0" });
  for (const tile of one.tiles) {
    const pictures = ["before", "after", "difference"].map((which) =>
      make("img", { src: tile[which], alt: "", width: 160, height: 160 }));
    tiles.append(make("button", { type: "button", "aria-label": `${person(one)} at ${stamp(tile.seconds)}: before, after, difference; go there`, on: { click: () => goToSeconds(tile.seconds) } },
      ...pictures, make("span", {}, stamp(tile.seconds))));
  }
  return make("div", { class: "filmstrip" }, rows, tiles);
}

function stacking(one) {
  const { stack } = one;
  const over = make("div", { class: "over" });
  for (const which of ["before", "after"]) {
    over.append(make("img", { src: stack[which], alt: `${person(one)} ${which}: the middle column of the face in ${stack.frames} frames, side by side` }),
      make("span", { class: `tag ${which}`, "aria-hidden": "true" }, which));
  }
  overTime(over, stack.begins, stack.ends);
  return make("figure", { class: "stack" }, make("figcaption", {}, make("h3", {}, "One column of pixels over time")), over,
    make("p", { class: "note" }, `The middle column of the face square in ${stack.frames} neighbouring frames, from ${stamp(stack.begins)} to ${stamp(stack.ends)}. Smooth bands are steady, combs and streaks flicker.`));
}

function showPeople() {
  for (const one of facts.people) {
    const id = `person-${one.number}`;
    const plots = make("div", { class: "plots" });
    for (const quantity of Object.keys(QUANTITIES)) if (one.lines[quantity]) plots.append(plot(quantity, one.lines[quantity]));
    const card = make("section", { class: "person", "aria-labelledby": id }, make("h2", { id }, person(one)));
    if (one.tiles.length) card.append(filmstrip(one), make("p", { class: "note" }, "The change is after - before, four times as strong around grey: brighter than grey is brighter than before, coloured fringes are changes of colour. Encoding the film again counts, too."), stacking(one));
    card.append(plots);
    if (!one.lines.identity) card.append(make("p", { class: "note" }, "Likeness is not measured: it needs a model with an identity network (svfr)."));
    at("people").append(card);
  }
  if (facts.peopleLeftOut) at("people").append(make("p", { class: "quiet" }, `${facts.peopleLeftOut} more people, seen more briefly, are in the table only.`));
}

function cell(text, kind = "") { return make("td", kind ? { class: kind } : {}, text); }
function showShots() {
  const body = make("tbody");
  for (const shot of facts.shots) {
    const go = make("button", { type: "button", "aria-label": `Go to shot ${shot.number}, ${stamp(shot.begins)}`, on: { click: () => jump(shot.begins) } }, stamp(shot.begins));
    const people = shot.people.map((one) => `${person(one)}, ${one.frames} frames`).join("; ") || "nobody";
    body.append(make("tr", {}, cell(String(shot.number)), make("td", {}, go), cell(String(shot.last - shot.first + 1), "number"), cell(people)));
  }
  const head = make("thead", {}, make("tr", {}, ...[["shot", ""], ["begins", ""], ["frames", "number"], ["people", ""]].map(([text, kind]) =>
    make("th", { scope: "col", ...(kind ? { class: kind } : {}) }, text))));
  at("shots").append(make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Shots" }, make("table", {}, head, body)));
  if (facts.shotsLeftOut) at("shots").append(make("p", { class: "quiet small" }, `and ${facts.shotsLeftOut} more shots`));
  if (!facts.people.length) return;
  const table = make("tbody");
  for (const one of facts.people) {
    const mean = (quantity, which) => short(one.lines[quantity]?.[which]?.mean);
    const both = (quantity) => `${mean(quantity, "before")} → ${mean(quantity, "after")}`;
    table.append(make("tr", {}, cell(person(one)), cell(mean("identity", "after"), "number"), ...["sharpness", "eyes", "mouth", "score"].map((q) => cell(both(q), "number"))));
  }
  const heads = ["", "likeness", "sharpness", "flicker, eyes", "flicker, mouth", "score"];
  at("shots").append(make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Means of each person" }, make("table", { class: "means" }, make("thead", {}, make("tr", {}, ...heads.map((text, i) => make("th", { scope: "col", ...(i ? { class: "number" } : {}) }, text || "means")))), table)));
}

function sheet(title, rows) {
  const list = make("dl");
  for (const [name, value] of rows) list.append(make("dt", {}, name), make("dd", {}, value));
  return make("div", {}, make("h3", {}, title), list);
}
function showDetails() {
  const sheets = make("div", { class: "sheets" }, sheet("Before", oldFilm.facts), sheet("After", newFilm.facts));
  for (const { title, rows } of facts.details) sheets.append(sheet(title, rows));
  at("details").append(sheets, make("p", { class: "note" }, `Made by facerestore ${facts.version}. ` +
    (facts.details.length ? "" : "There is no record of how the second film was made of the first.")));
}

showSummary();
showWarnings();
showPeople();
const plots = make("div", { class: "plots" });
for (const [quantity, lines] of Object.entries(facts.film)) plots.append(plot(quantity, lines));
at("film").append(plots);
showShots();
showDetails();
setUpPlayer();
tell();
