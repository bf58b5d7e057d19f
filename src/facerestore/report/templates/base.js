"use strict";
const at = (id) => document.getElementById(id);

/** An element; text only ever becomes text nodes, so that names cannot be markup. */
function make(name, attributes = {}, ...children) {
  const svg = name === "svg" || name === "path";
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const short = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(3))));
function stamp(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const rest = (seconds - minutes * 60).toFixed(2).padStart(5, "0");
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
