"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const [before, after] = [at("before"), at("after")];
const [oldFilm, newFilm] = facts.films;
const frameSeconds = 1 / facts.rate;
const followers = [];  // told of every new moment: (seconds, frame) => void

const person = (one) => `Person ${one.number}` + (one.restored ? "" : " (left as it was)");

// ---- the clock: frames and seconds of the film as it is now --------------------------------
const last = Math.max(0, facts.frames - 1);
const begins = (frame) => (facts.times ? facts.times[frame] : frame / facts.rate);
function frameAt(seconds) {
  if (!facts.times) return Math.min(last, Math.max(0, Math.floor(seconds * facts.rate + 0.01)));
  let low = 0, high = last;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (facts.times[middle] <= seconds + 0.002) low = middle; else high = middle - 1;
  }
  return low;
}
let frame = 0;

/** Show a frame in both films: the middle of its time, so that rounding cannot miss it. */
function goTo(number) {
  pause();
  frame = Math.min(last, Math.max(0, number));
  const end = frame < last ? begins(frame + 1) : begins(frame) + frameSeconds;
  const middle = (begins(frame) + end) / 2;
  after.currentTime = newFilm.begins + middle;
  before.currentTime = oldFilm.begins + middle;
  tell();
}
const goToSeconds = (seconds) => goTo(frameAt(seconds + frameSeconds / 4));
function jump(seconds) {
  goToSeconds(seconds);
  at("stage").focus({ preventScroll: true });
  at("player").scrollIntoView({ block: "nearest" });
}
function tell() {
  const shot = facts.shots.find((one) => frame >= one.first && frame <= one.last);
  at("clock").textContent = `${stamp(begins(frame))} · frame ${frame} of 0–${last}` + (shot && facts.shots.length > 1 ? ` · shot ${shot.number}` : "");
  at("time").value = frame;
  at("time").setAttribute("aria-valuetext", `frame ${frame}, ${stamp(begins(frame))}`);
  for (const follow of followers) follow(begins(frame), frame);
}

// ---- playing: `after` leads, `before` follows ---------------------------------------------------
let playing = false;
function pause() {
  playing = false;
  after.pause();
  before.pause();
  before.playbackRate = 1;
  at("play").textContent = "Play";
  at("play").setAttribute("aria-pressed", "false");
}
async function play() {
  if (frame >= last) goTo(0);
  playing = true;
  at("play").textContent = "Pause";
  at("play").setAttribute("aria-pressed", "true");
  try {
    await Promise.all([after.play(), before.play()]);
    requestAnimationFrame(keepTogether);
  } catch (error) {
    if (error.name !== "AbortError") pause();
  }
}
function keepTogether() {
  if (!playing) return;
  const seconds = after.currentTime - newFilm.begins;
  const ahead = before.currentTime - oldFilm.begins - seconds;
  if (Math.abs(ahead) > 0.25) before.currentTime = oldFilm.begins + seconds;
  before.playbackRate = Math.min(1.25, Math.max(0.75, 1 - 3 * ahead));
  const now = frameAt(seconds);
  if (now !== frame) { frame = now; tell(); }
  if (after.ended || seconds >= facts.seconds) goTo(last);
  else requestAnimationFrame(keepTogether);
}
const toggle = () => (playing ? goTo(frame) : play());

function zoom() {
  const [stage, picture] = [at("stage"), at("picture")];
  const real = stage.classList.toggle("real");
  at("zoom").setAttribute("aria-pressed", String(real));
  picture.style.width = real ? `${facts.width / devicePixelRatio}px` : "";
  if (real) stage.scrollTo((stage.scrollWidth - stage.clientWidth) / 2, (stage.scrollHeight - stage.clientHeight) / 2);
}

function setUpPlayer() {
  const picture = at("picture");
  picture.style.setProperty("--shape", `${facts.width} / ${facts.height}`);
  picture.style.setProperty("--ratio", facts.width / facts.height);
  at("split").addEventListener("input", (event) => picture.style.setProperty("--split", `${event.target.value}%`));
  at("split").addEventListener("pointerup", (event) => event.target.blur());  // arrows step frames again
  at("time").max = last;
  at("time").addEventListener("input", (event) => goTo(Number(event.target.value)));
  at("back").addEventListener("click", () => goTo(frame - 1));
  at("forth").addEventListener("click", () => goTo(frame + 1));
  at("play").addEventListener("click", toggle);
  at("zoom").addEventListener("click", zoom);
  document.addEventListener("keydown", onKey);
  for (const [video, film] of [[before, oldFilm], [after, newFilm]]) {
    video.addEventListener("error", () => {
      at("trouble").hidden = false;
      const remedy = film.inside ? "try another browser" : "keep it where it was when this page was made";
      at("trouble").textContent += `${film.name} cannot be shown here; ${remedy}. `;
    });
    video.addEventListener("loadedmetadata", () => goTo(frame), { once: true });
    video.src = film.url;
  }
  const copies = facts.films.filter((film) => film.preview).map((film) => film.name);
  at("copies").textContent = copies.length
    ? `The player shows a small copy (H.264, without sound) of ${copies.join(" and ")}: browsers may not play the original. The numbers and pictures on this page are of the films themselves.`
    : "";
  at("copies").hidden = !copies.length;
  const span = Math.max(1, last);
  for (const shot of facts.shots.slice(1)) at("marks").append(make("span", { style: `left:${(100 * shot.first) / span}%` }));
  for (const warning of facts.warnings) {
    if (warning.seconds !== null) at("marks").append(make("span", { class: "alarm", style: `left:${(100 * frameAt(warning.seconds)) / span}%` }));
  }
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const arrow = event.key === "ArrowLeft" || event.key === "ArrowRight";
  const target = event.target;
  if (arrow && target.id === "split") return;
  if (event.key === " " && target.tagName === "BUTTON") return;
  if (arrow) goTo(frame + (event.key === "ArrowLeft" ? -1 : 1));
  else if (event.key === " ") toggle();
  else if (event.key === "1") zoom();
  else return;
  event.preventDefault();
}
