"use strict";
// The page: the folder's films, what to do with them, the queue, the results.
const BUSY_MS = 500, IDLE_MS = 4000;  // between two looks at the queue
const CHANGES = { "X-Facerestore": "1" };  // without it the server changes nothing
const folder = { films: [], known: new Map(), seen: "" };
let waitingFor = 0, looking = null, shownNumber = 0;

// ---- talking with the server ---------------------------------------------------------------------
async function ask(url, how = {}) {
  let answer;
  try {
    answer = await fetch(url, { ...how, headers: how.method ? { ...CHANGES, ...how.headers } : {} });
  } catch {
    throw new Error("The server does not answer: was it ended? Start facerestore serve again and open the address that it prints.");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.message || `The server says ${answer.status}.`);
  return content;
}
const send = (url, content) => ask(url, { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });

function say(text) { at("said").textContent = text; }
function alarm(error) {
  at("alarm").textContent = error.message || String(error);
  at("alarm").hidden = false;
}
function calm() { at("alarm").hidden = true; }
/** Run what somebody asked for; what goes wrong is said. */
const guarded = (job) => async (...given) => {
  calm();
  try { await job(...given); } catch (error) { alarm(error); }
};

// ---- the folder ----------------------------------------------------------------------------------
const megabytes = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`);

async function loadFolder() {
  const found = await ask("api/folder");
  const now = JSON.stringify(found);
  if (now === folder.seen) return;
  folder.seen = now;
  folder.films = found.films;
  at("folder").textContent = found.name;
  document.title = `${found.name} – facerestore`;
  at("films").replaceChildren(...found.films.map(filmRow));
  at("films-note").textContent = found.more ? `These are the first ${found.films.length} films; serve a smaller folder to see others.`
    : found.films.length ? "" : "No films in this folder yet.";
  const from = at("mask-from"), chosen = from.value;
  const options = (names) => names.map((name) => make("option", { value: name }, name));
  const films = found.films.filter((one) => !one.made).map((one) => one.name);
  from.replaceChildren(from.options[0], ...options(found.pictures), ...options(films));
  from.value = [...from.options].some((one) => one.value === chosen) ? chosen : "";
  if (from.value !== chosen) showMasking();
}

function filmRow(one) {
  const picture = make("img", { src: `api/still?${query({ film: one.name, at: 1, side: 160, v: one.changed })}`, alt: "", loading: "lazy", width: 74, height: 42 });
  const facts = make("span", { class: "small quiet" }, megabytes(one.size));
  if (one.made) facts.append(" · ", make("span", { class: "made" }, "restored"));
  const row = make("li", {}, make("button", { type: "button", class: "film", "aria-current": String(one.name === film.name), on: { click: guarded(() => choose(one)) } },
    picture, make("span", { class: "name" }, one.name, make("br"), facts)));
  if (one.report) row.append(make("button", { type: "button", class: "see", "aria-label": `Report on ${one.name}`, on: { click: () => showReport(one.report, one.name) } }, "Report"));
  return row;
}

async function choose(one) {
  say(`Opening ${one.name} …`);
  const facts = await ask(`api/facts?${query({ film: one.name })}`).finally(() => say(""));
  showFilm(one.name, one.changed, facts);
  newMask(facts);
  at("wishes").disabled = false;
  for (const row of at("films").querySelectorAll(".film")) row.setAttribute("aria-current", "false");
  const index = folder.films.findIndex((other) => other.name === one.name);
  at("films").children[index]?.querySelector(".film").setAttribute("aria-current", "true");
  showMasking();
}

// ---- films that come in --------------------------------------------------------------------------
async function takeIn(files) {
  for (const file of files) {
    try {
      const { name } = await upload(file);
      await loadFolder();
      say(`${name} is here.`);
      await choose(folder.films.find((one) => one.name === name));
    } catch (error) { alarm(error); }
  }
}

function upload(file) {
  const bar = make("progress", { max: 1, value: 0, "aria-label": `Sending ${file.name}` });
  const request = new XMLHttpRequest();
  const row = make("li", {}, file.name, bar, make("button", { type: "button", on: { click: () => request.abort() } }, "Cancel"));
  at("uploads").append(row);
  return new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; });
    request.addEventListener("load", () => {
      const content = JSON.parse(request.responseText || "{}");
      if (request.status === 200) resolve(content);
      else reject(new Error(content.message || `The server says ${request.status}.`));
    });
    request.addEventListener("error", () => reject(new Error(`${file.name}: the server does not take it or does not answer.`)));
    request.addEventListener("abort", () => reject(new Error(`${file.name}: not sent.`)));
    request.addEventListener("loadend", () => row.remove());
    request.open("PUT", `api/films?${query({ name: file.name })}`);
    request.setRequestHeader("X-Facerestore", "1");
    request.send(file);
  });
}

function setUpDrop() {
  at("choose").addEventListener("change", (event) => { takeIn([...event.target.files]); event.target.value = ""; });
  for (const name of ["dragover", "dragenter"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    calm();
    takeIn([...event.dataTransfer.files]);
  });
}

// ---- what to do ----------------------------------------------------------------------------------
const tasks = () => [...document.querySelectorAll("input[name=task]:checked")].map((one) => one.value);

async function wished() {
  const chosen = tasks();
  let mask = null;
  if (chosen.includes("inpaint")) {
    mask = at("mask-from").value || await storedMask(async (png) => (await ask(`api/masks?${query({ film: film.name })}`, { method: "POST", body: png })).name);
  }
  return {
    film: film.name, tasks: chosen.join(","), mask, model: at("model").value || null, profile: at("profile").value,
    strength: Number(at("strength").value) / 100, faces: at("faces").value, overwrite: at("overwrite").checked,
  };
}

function showMasking() {
  const inpaint = tasks().includes("inpaint");
  const drawing = inpaint && at("mask-from").value === "";
  at("masking").hidden = !inpaint;
  at("drawing").hidden = !drawing;
  canvas.hidden = !drawing;
}

const preview = guarded(async () => {
  const ticket = await send(`api/preview?${query({ at: film.at.toFixed(3) })}`, await wished());
  waitingFor = ticket.number;
  say(`Preview of ${film.name} from ${stamp(ticket.start)} …`);
  lookSoon();
});
const start = guarded(async () => {
  const ticket = await send("api/restore", await wished());
  waitingFor = ticket.number;
  say(`${film.name} is in the queue.`);
  lookSoon();
});

// ---- the queue -----------------------------------------------------------------------------------
async function look() {
  try {
    const tickets = await ask("api/queue");
    for (const ticket of tickets) if (folder.known.get(ticket.number) !== ticket.status) await statusChanged(ticket);
    showQueue(tickets);
    const busy = tickets.some((one) => one.status === "waiting" || one.status === "working");
    looking = setTimeout(look, busy ? BUSY_MS : IDLE_MS);
  } catch (error) {
    alarm(error);
    looking = setTimeout(look, IDLE_MS);
  }
}
function lookSoon() {
  clearTimeout(looking);
  looking = setTimeout(look, 0);
}

async function statusChanged(ticket) {
  const first = !folder.known.has(ticket.number);
  folder.known.set(ticket.number, ticket.status);
  const over = ["done", "failed", "stopped"].includes(ticket.status);
  if (!over || (first && ticket.number !== waitingFor)) return;
  const what = ticket.kind === "preview" ? `Preview of ${ticket.film}` : ticket.film;
  say(`${what}: ${ticket.status}. ${ticket.message}`);
  await loadFolder();
  if (ticket.number !== waitingFor) return;
  if (ticket.shown) showPreview(ticket);
  else if (ticket.report) showReport(ticket.report, ticket.output);
}

function showQueue(tickets) {
  at("queue-card").hidden = !tickets.length;
  const rows = new Map([...at("queue").children].map((row) => [row.dataset.number, row]));
  const newest = [...tickets].reverse();
  for (const [i, ticket] of newest.entries()) {
    const now = JSON.stringify(ticket);
    let row = rows.get(String(ticket.number));
    if (!row) {
      row = make("li", { "data-number": ticket.number });
      at("queue").insertBefore(row, at("queue").children[i] || null);
    }
    if (row.dataset.now !== now) drawTicket(row, ticket);
    row.dataset.now = now;
    rows.delete(String(ticket.number));
  }
  for (const row of rows.values()) row.remove();
}

const STAGES = { looking: "looking for faces", restoring: "restoring", reporting: "writing the report" };
function progressOf({ step, rate }) {
  if (!step) return "getting ready";
  const done = Math.min(Math.round(step.frame), step.frames), left = rate > 0 ? (step.frames - done) / rate : 0;
  const words = [STAGES[step.stage] || step.stage, `frame ${done} of ${step.frames}`];
  if (rate > 0) words.push(`${short(rate)} frames/s`);
  if (left >= 1) words.push(`${stamp(left).replace(/\.\d+$/, "")} left`);
  return words.join(" · ");
}

/** One film of the queue; a button keeps the focus, as rows are only filled, not replaced. */
function drawTicket(row, ticket) {
  const focused = row.contains(document.activeElement) ? document.activeElement.textContent : "";
  const title = ticket.kind === "preview" ? `${ticket.film}, 3 s from ${stamp(ticket.start)}` : ticket.film;
  const parts = [make("span", { class: "name" }, title), make("p", { class: "quiet" }, `${ticket.kind === "preview" ? "preview" : "whole film"} · ${ticket.tasks}`)];
  const controls = make("div", { class: "controls" });
  if (ticket.status === "working") {
    const share = ticket.step ? Math.min(1, ticket.step.frame / Math.max(1, ticket.step.frames)) : null;
    parts.push(make("progress", { max: 1, ...(share === null ? {} : { value: share }), "aria-label": `Progress of ${title}` }), make("p", {}, progressOf(ticket)));
  } else {
    parts.push(make("p", { class: ticket.status }, [ticket.status, ticket.message].filter(Boolean).join(": ")));
  }
  for (const note of ticket.notes) parts.push(make("p", { class: "quiet" }, note));
  const button = (text, call) => controls.append(make("button", { type: "button", "aria-label": `${text}: ${title}`, on: { click: call } }, text));
  if (ticket.status === "waiting" || ticket.status === "working") {
    button(ticket.status === "waiting" ? "Remove" : "Stop", guarded(async () => { await ask(`api/queue/${ticket.number}`, { method: "DELETE" }); lookSoon(); }));
  }
  if (ticket.shown) button("Show", () => showPreview(ticket));
  if (ticket.report) button("Report", () => showReport(ticket.report, ticket.output));
  if (ticket.status === "done" && ticket.output) controls.append(make("a", { class: "button", href: `files/${address(ticket.output)}?download=true`, download: "", "aria-label": `Download ${ticket.output}` }, "Download"));
  row.replaceChildren(...parts, ...(controls.children.length ? [controls] : []));
  if (focused) [...row.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
}

// ---- results -------------------------------------------------------------------------------------
function showResult(title, note, url, report) {
  pauseFilm();
  at("result").hidden = false;
  at("result-title").textContent = title;
  at("result-note").textContent = note;
  at(report ? "main" : "look").append(at("result"));  // a report is as wide as the page
  const frame = at("frame");
  frame.classList.toggle("report", report);
  frame.title = title;
  frame.onload = report ? null : () => {
    const fit = () => { frame.style.height = `${frame.contentDocument.documentElement.offsetHeight}px`; };
    new ResizeObserver(fit).observe(frame.contentDocument.body);
    fit();
  };
  if (report) { frame.style.height = ""; frame.setAttribute("sandbox", "allow-scripts"); } else frame.removeAttribute("sandbox");
  frame.src = url;
  at("result-title").focus({ preventScroll: true });
  at("result").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

function showPreview(ticket) {
  at("result-links").replaceChildren();
  showResult(`Preview of ${ticket.film}`, `3 seconds from ${stamp(ticket.start)} · ${ticket.tasks} · ${ticket.message}`, `previews/${ticket.number}/`, false);
}

function showReport(page, output) {
  at("result-links").replaceChildren(
    make("a", { class: "button", href: `files/${address(page)}`, target: "_blank", rel: "noopener" }, "Open the report in a tab"),
    make("a", { class: "button", href: `files/${address(output)}?download=true`, download: "" }, "Download the film"));
  showResult(`Report on ${output}`, "", `files/${address(page)}`, true);
}

function closeResult() {
  at("result").hidden = true;
  at("frame").src = "about:blank";
}

// ---- the beginning -------------------------------------------------------------------------------
async function begin() {
  setUpFilm();
  setUpMask();
  setUpDrop();
  at("strength").addEventListener("input", (event) => { at("strength-value").textContent = `${event.target.value} %`; });
  for (const box of document.querySelectorAll("input[name=task]")) box.addEventListener("change", showMasking);
  at("mask-from").addEventListener("change", showMasking);
  at("preview").addEventListener("click", preview);
  at("wish").addEventListener("submit", (event) => { event.preventDefault(); start(); });
  at("result-close").addEventListener("click", closeResult);
  window.addEventListener("focus", guarded(loadFolder));
  const choices = await ask("api/choices");
  CLIP.seconds = choices.clipSeconds;
  for (const name of choices.models) at("model").append(make("option", { value: name }, name));
  await loadFolder();
  await look();
}
guarded(begin)();
