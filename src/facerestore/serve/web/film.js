"use strict";
// The chosen film and its cursor. What browsers play is shown as it is; of anything else the server
// gives stills for the cursor, and copies of some seconds to play.
const film = { name: "", version: "", facts: null, at: 0, playing: false, clip: -1, asking: false, asked: null };
const CLIP = { seconds: 5 };

const video = at("video"), still = at("still");
const query = (fields) => new URLSearchParams(fields).toString();
const address = (name) => name.split("/").map(encodeURIComponent).join("/");
const lastMoment = () => Math.max(0, film.facts.seconds - 1 / film.facts.rate);
const native = () => film.facts.kind !== "";

/** Show a film from its beginning. */
function showFilm(name, version, facts) {
  pauseFilm();
  Object.assign(film, { name, version, facts, at: 0, clip: -1, asked: null });
  at("nothing").hidden = true;
  at("something").hidden = false;
  at("film-name").textContent = name;
  at("film-facts").textContent = `${facts.picture} · ${stamp(facts.seconds)}`;
  at("film-trouble").hidden = true;
  at("picture").style.setProperty("--shape", `${facts.width} / ${facts.height}`);
  at("picture").style.setProperty("--ratio", facts.width / facts.height);
  at("time").max = lastMoment();
  at("time").step = 1 / facts.rate;
  video.removeAttribute("src");
  still.removeAttribute("src");
  if (native()) video.src = `files/${address(name)}?v=${version}`;
  showAs(native());
  goTo(0);
}

function showAs(film_itself) {
  video.hidden = !film_itself;
  still.hidden = film_itself;
  at("copy").hidden = native();
}

function goTo(seconds) {
  if (!film.facts) return;
  pauseFilm();
  film.at = Math.min(lastMoment(), Math.max(0, seconds));
  if (native()) video.currentTime = film.facts.begins + film.at + 0.25 / film.facts.rate;
  else askForStill();
  tellTime();
}

/** One picture at a time: the next is asked for when the last has come, for where the cursor is then. */
function askForStill() {
  if (film.asking) return;
  const wanted = `api/still?${query({ film: film.name, at: (film.at + 0.25 / film.facts.rate).toFixed(3), side: 1280, v: film.version })}`;
  if (wanted === film.asked) { showAs(false); return; }
  film.asking = true;
  const done = () => {
    film.asking = false;
    film.asked = wanted;
    if (!film.playing) showAs(native());
    if (!film.playing && !native()) askForStill();
  };
  still.onload = done;
  still.onerror = done;
  still.src = wanted;
}

function tellTime() {
  at("time").value = film.at;
  const text = `${stamp(film.at)} of ${stamp(film.facts.seconds)}`;
  at("clock").textContent = text;
  at("time").setAttribute("aria-valuetext", text);
  const span = Math.max(film.facts.seconds, 0.001), begin = Math.min(film.at, Math.max(0, span - 3));
  at("part").style.left = `${(100 * begin) / span}%`;
  at("part").style.width = `${(100 * Math.min(3, span)) / span}%`;
}

// ---- playing -------------------------------------------------------------------------------------
function pauseFilm() {
  if (film.playing) {
    film.playing = false;
    if (!native()) requestAnimationFrame(askForStill);
  }
  video.pause();
  at("play").textContent = "Play";
  at("play").setAttribute("aria-pressed", "false");
}

async function playFilm() {
  if (!film.facts) return;
  if (film.at >= lastMoment() - 0.01) goTo(0);
  film.playing = true;
  at("play").textContent = "Pause";
  at("play").setAttribute("aria-pressed", "true");
  try {
    if (!native()) await loadClip(Math.floor(film.at / CLIP.seconds), film.at % CLIP.seconds);
    if (!film.playing) return;
    await video.play();
    requestAnimationFrame(follow);
  } catch (error) {
    if (error.name !== "AbortError") pauseFilm();
  }
}

/** Some seconds of a film that browsers cannot play; the next are made while these are shown. */
async function loadClip(number, from) {
  const url = (n) => `api/clip?${query({ film: film.name, number: n })}`;
  if (film.clip !== number) {
    at("clock").textContent = "making a copy to play …";
    film.clip = number;
    const ready = new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
    video.src = url(number);
    await ready;
    if ((number + 1) * CLIP.seconds < lastMoment()) fetch(url(number + 1), { headers: { Range: "bytes=0-0" } }).catch(() => {});
  }
  video.currentTime = from;
  showAs(true);
}

function follow() {
  if (!film.playing) return;
  film.at = native() ? video.currentTime - film.facts.begins : film.clip * CLIP.seconds + video.currentTime;
  film.at = Math.min(lastMoment(), Math.max(0, film.at));
  tellTime();
  if (!video.ended) { requestAnimationFrame(follow); return; }
  const next = (film.clip + 1) * CLIP.seconds;
  if (native() || next >= lastMoment()) { goTo(lastMoment()); return; }
  film.at = next;
  playFilm();
}

const togglePlay = () => (film.playing ? goTo(film.at) : playFilm());

function setUpFilm() {
  at("time").addEventListener("input", (event) => goTo(Number(event.target.value)));
  at("back").addEventListener("click", () => goTo(film.at - 1 / film.facts.rate));
  at("forth").addEventListener("click", () => goTo(film.at + 1 / film.facts.rate));
  at("play").addEventListener("click", togglePlay);
  video.addEventListener("error", () => {
    if (!film.facts || !video.getAttribute("src")) return;
    if (native()) film.facts.kind = "";  // this browser does not play it after all
    else at("film-trouble").textContent = "This part cannot be played; the cursor still shows its pictures.";
    at("film-trouble").hidden = native();
    goTo(film.at);
  });
  document.addEventListener("keydown", onFilmKey);
}

function onFilmKey(event) {
  if (!film.facts || event.altKey || event.ctrlKey || event.metaKey) return;
  if (/^(INPUT|SELECT|BUTTON|CANVAS|A)$/.test(event.target.tagName) && event.target.id !== "time") return;
  if (event.key === " ") togglePlay();
  else if (event.key === "ArrowLeft") goTo(film.at - 1 / film.facts.rate);
  else if (event.key === "ArrowRight") goTo(film.at + 1 / film.facts.rate);
  else return;
  event.preventDefault();
}
