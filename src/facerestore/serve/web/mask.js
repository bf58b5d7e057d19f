"use strict";
// A mask drawn over the picture: strokes are kept, so that they can be undone; the server gets a PNG.
const canvas = at("mask");
const MOST_SIDE = 1920;
let strokes = [], line = null, erasing = false, stored = "";
const pen = { x: 0.5, y: 0.5, seen: false };  // of the keyboard, in shares of the picture

/** A clean sheet of the film's shape. */
function newMask(facts) {
  const scale = Math.min(1, MOST_SIDE / Math.max(facts.width, facts.height));
  canvas.width = Math.max(1, Math.round(facts.width * scale));
  canvas.height = Math.max(1, Math.round(facts.height * scale));
  strokes = [];
  changedMask();
}

function changedMask() {
  stored = "";
  drawStrokes(canvas, "#ff2fb3");
  if (!pen.seen) return;
  const ink = canvas.getContext("2d");
  ink.strokeStyle = "#ffffff";
  ink.lineWidth = 2;
  ink.beginPath();
  ink.arc(pen.x * canvas.width, pen.y * canvas.height, brush() / 2, 0, 7);
  ink.stroke();
}

/** The strokes in one colour; nothing where there is no hole. */
function drawStrokes(sheet, colour) {
  const ink = sheet.getContext("2d");
  ink.clearRect(0, 0, sheet.width, sheet.height);
  ink.lineCap = ink.lineJoin = "round";
  ink.strokeStyle = colour;
  for (const { points, size, erase } of strokes) {
    ink.globalCompositeOperation = erase ? "destination-out" : "source-over";
    ink.lineWidth = size;
    ink.beginPath();
    points.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
    if (points.length === 1) ink.lineTo(points[0][0] + 0.01, points[0][1]);
    ink.stroke();
  }
  ink.globalCompositeOperation = "source-over";
}

/** The name of the mask as a file beside the film; sends it if it is new. */
async function storedMask(send) {
  if (!strokes.some((one) => !one.erase)) throw new Error("The mask is empty: paint over what is to be filled.");
  if (!stored) {
    const layer = new OffscreenCanvas(canvas.width, canvas.height), sheet = new OffscreenCanvas(canvas.width, canvas.height);
    drawStrokes(layer, "#ffffff");
    const ink = sheet.getContext("2d");
    ink.fillStyle = "#000000";
    ink.fillRect(0, 0, sheet.width, sheet.height);
    ink.drawImage(layer, 0, 0);
    stored = await send(await sheet.convertToBlob({ type: "image/png" }));
  }
  return stored;
}

const brush = () => (Number(at("brush").value) * canvas.height) / 480;
function showBrush() {
  at("brush-size").textContent = at("brush").value;
  changedLook();
}
function changedLook() {
  const before = stored;
  changedMask();
  stored = before;  // what the pen looks like is no part of the mask
}

function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}

function setUpMask() {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen.seen = false;
    line = { points: [pointOf(event)], size: brush(), erase: erasing };
    strokes.push(line);
    changedMask();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!line) return;
    line.points.push(pointOf(event));
    changedMask();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { line = null; });
  canvas.addEventListener("keydown", onMaskKey);
  canvas.addEventListener("blur", () => { pen.seen = false; changedLook(); });
  at("brush").addEventListener("input", showBrush);
  at("erase").addEventListener("click", () => {
    erasing = !erasing;
    at("erase").setAttribute("aria-pressed", String(erasing));
  });
  at("undo").addEventListener("click", () => { strokes.pop(); changedMask(); });
  at("clear").addEventListener("click", () => { strokes = []; changedMask(); });
  at("brush-size").textContent = at("brush").value;
}

function onMaskKey(event) {
  const step = brush() / 3;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const move = moves[event.key];
  if (!move && event.key !== " ") return;
  event.preventDefault();
  pen.seen = true;
  if (move) {
    pen.x = Math.min(1, Math.max(0, pen.x + move[0] / canvas.width));
    pen.y = Math.min(1, Math.max(0, pen.y + move[1] / canvas.height));
    changedLook();
  } else {
    strokes.push({ points: [[pen.x * canvas.width, pen.y * canvas.height]], size: brush(), erase: erasing });
    changedMask();
  }
}
