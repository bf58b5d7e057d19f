"use strict";
// What is at work and what has become of it: progress, previews, reports.
const BUSY_MS = 500, IDLE_MS = 4000;  // between two looks at the queue
const known = new Map();  // number of a ticket -> its last status
let waitingFor = 0, looking = null;  // the ticket whose result is shown when it is there; a timer

// ---- the queue -----------------------------------------------------------------------------------
async function look() {
  try {
    const tickets = await ask("api/queue");
    for (const ticket of tickets) if (known.get(ticket.number) !== ticket.status) await statusChanged(ticket);
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
  const first = !known.has(ticket.number);
  known.set(ticket.number, ticket.status);
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
    button(ticket.status === "waiting" ? "Remove" : "Stop", guarded(async () => { say(`Stopping ${title} …`); await ask(`api/queue/${ticket.number}`, { method: "DELETE" }); lookSoon(); }));
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
