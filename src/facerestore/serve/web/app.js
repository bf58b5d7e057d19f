"use strict";
// The page: the folder's films, those that come in, and what to do with one.
const CHANGES = { "X-Facerestore": "1" };  // without it the server changes nothing
const folder = { films: [], seen: "" };

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
  if (matchMedia("(max-width: 46rem)").matches) at("viewer").scrollIntoView({ block: "start" });
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
