// Draws what the reader answers, and asks again every few seconds while somebody looks. What notes say is text, and is put
// into the page as text alone.
"use strict";

const EVERY_MS = 5000;
const PATIENCE_MS = 15000;
const MOST = 8;
const LEAST = 3;
const SVG = "http://www.w3.org/2000/svg";
const NAMES = {region: "region", facultad: "faculty", carrera: "career", curso: "course"};

const place = (id) => document.getElementById(id);
const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
const percent = (share) => {
  if (share === null) return "–";
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
};
const time = (text) => new Date(text).toLocaleTimeString("en-GB");
const minute = (text) => time(text).slice(0, 5);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function table(caption, columns, rows) {
  const heads = columns.map(([title, kind]) => element("th", {scope: "col", class: kind}, title));
  return element(
    "table", {"aria-label": caption},
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows),
  );
}

function none(text) {
  return element("p", {class: "soft"}, text);
}

// --- The parts of the page

function drawFigures(found) {
  const {mongodb, direct} = found;
  place("all").textContent = number(mongodb?.notes);
  place("relay").textContent = number(mongodb ? mongodb.by_route.relay ?? 0 : null);
  place("direct").textContent = number(direct.mongodb);
  place("redis").textContent = number(direct.redis);
  place("difference").textContent = number(direct.difference);
  place("difference").className = direct.difference ? "bad" : "";
}

function countRow(row, most) {
  const notes = row.notes ?? row.redis_direct ?? 0;
  const text = element("th", {scope: "row", class: "part"}, row.text);
  text.style.setProperty("--part", `${most ? (100 * notes) / most : 0}%`);
  return element(
    "tr", {}, text,
    element("td", {class: "n"}, number(row.notes), element("small", {}, percent(row.share))),
    element("td", {class: "n"}, number(row.mongodb_direct)),
    element("td", {class: "n"}, number(row.redis_direct)),
    element("td", {class: row.difference ? "n bad" : "n"}, number(row.difference)),
  );
}

function drawCounts(by, most, least) {
  place("counts-title").textContent = `Notes by ${NAMES[by]}`;
  if (!most.counts.length) return place("counts").replaceChildren(none("There are no notes yet."));
  const top = most.counts[0].notes ?? most.counts[0].redis_direct;
  const rows = most.counts.map((row) => countRow(row, top));
  const hidden = most.different - most.counts.length;
  // The fewest, but for those that are among the most already.
  const rest = least.counts.slice(0, Math.max(0, hidden)).reverse();
  if (hidden > rest.length) {
    const between = `${number(hidden - rest.length)} more, and those with the fewest:`;
    rows.push(element("tr", {class: "gap"}, element("th", {scope: "row", colspan: "5"}, between)));
  }
  rows.push(...rest.map((row) => countRow(row, top)));
  const columns = [[NAMES[by], "wide"], ["notes", "n"], ["by direct", "n"], ["in Redis", "n"], ["difference", "n"]];
  const parts = [element("div", {class: "scroll"}, table(`Notes by ${NAMES[by]}`, columns, rows))];
  const words = `${number(most.different)} different. ${most.complete ? "" : "There are so many that those with the fewest are not among them. "}`;
  parts.push(element("p", {class: "soft small"}, `${words}As of ${time(most.at)}.`));
  place("counts").replaceChildren(...parts);
}

function step(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most / 4)));
  return Math.max(1, [1, 2, 5, 10].map((times) => times * power).find((size) => size * 4 >= most) ?? 10 * power);
}

function drawRate(found) {
  const minutes = found.minutes;
  const routes = [...new Set(["relay", "direct", ...minutes.flatMap((row) => Object.keys(row.routes))])].slice(0, 6);
  const most = Math.max(...minutes.flatMap((row) => Object.values(row.routes)), 0);
  if (!most) return place("rate").replaceChildren(none("No notes came in this time."));
  const [left, right, top, bottom, width, height] = [56, 466, 20, 208, 480, 266];
  const tick = step(most);
  const high = tick * Math.ceil(most / tick);
  const x = (at) => left + ((right - left) * at) / Math.max(1, minutes.length - 1);
  const y = (value) => bottom - ((bottom - top) * value) / high;
  const sums = routes.map((route) => minutes.reduce((sum, row) => sum + (row.routes[route] ?? 0), 0));
  const said = routes.map((route, at) => `${route} ${number(sums[at])}`).join(", ");
  const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Notes by minute and route, in all: ${said}`});
  for (let value = 0; value <= high; value += tick) {
    svg.append(drawn("line", {class: "grid", x1: left, x2: right, y1: y(value), y2: y(value)}));
    svg.append(drawn("text", {class: "unit end", x: left - 8, y: y(value) + 4}, number(value)));
  }
  for (const at of [0, Math.floor((minutes.length - 1) / 2), minutes.length - 1]) {
    const anchor = at === 0 ? "unit" : at === minutes.length - 1 ? "unit end" : "unit middle";
    svg.append(drawn("text", {class: anchor, x: x(at), y: bottom + 20}, minute(minutes[at].minute)));
  }
  routes.forEach((route, at) => {
    const points = minutes.map((row, index) => `${x(index).toFixed(1)},${y(row.routes[route] ?? 0).toFixed(1)}`);
    svg.append(drawn("polyline", {class: `line-${at + 1}`, points: points.join(" ")}));
    const from = left + (at % 2) * 210;
    const row = height - 12 - 20 * (Math.ceil(routes.length / 2) - 1 - Math.floor(at / 2));
    svg.append(drawn("line", {class: `line-${at + 1}`, x1: from, x2: from + 24, y1: row - 4, y2: row - 4}));
    svg.append(drawn("text", {x: from + 32, y: row}, `${route.slice(0, 16)} ${number(sums[at])}`));
  });
  place("rate").replaceChildren(svg);
}

function drawLatest(id, found, timed) {
  if (!found.notes.length) return place(id).replaceChildren(none("There are no notes yet."));
  const rows = found.notes.map((note) => element(
    "tr", {},
    ...(timed ? [element("td", {class: "time"}, time(note.at), element("small", {}, note.route ?? ""))] : []),
    element("td", {}, note.curso, element("small", {}, `${note.carrera}, ${note.facultad}`)),
    element("td", {}, note.region),
  ));
  const columns = [...(timed ? [["time, route", "short"]] : []), ["course, career, faculty", ""], ["region", "region"]];
  const made = table(timed ? "The latest notes in MongoDB" : "The latest notes in Redis", columns, rows);
  made.classList.add("latest");
  place(id).replaceChildren(made);
}

// --- Asking

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, {signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store"});
  } catch {
    throw new Error("The reader does not answer");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function counts() {
  const by = place("by").value;
  const most = await ask(`notes/counts?by=${by}&limit=${MOST}`);
  const least = most.different > MOST ? await ask(`notes/counts?by=${by}&limit=${LEAST}&order=least`) : {counts: []};
  if (by !== place("by").value) return [];
  drawFigures(most);
  drawCounts(by, most, least);
  place("asof").textContent = `As of ${time(most.at)}.`;
  return Object.values(most.problems);
}

const PARTS = [
  counts,
  async () => drawRate(await ask("notes/rate?minutes=30")),
  async () => drawLatest("mongodb", await ask("notes?limit=10"), true),
  async () => drawLatest("latest-redis", await ask("notes?of=redis&limit=10"), false),
];

function tell(sentences, old) {
  const wanted = [...new Set(sentences.flatMap((sentence) => sentence.split(". ")))];
  const box = place("problems");
  if (old) wanted.push("Some of what is shown is from before");
  const text = wanted.map((sentence) => `${sentence}.`).join(" ");
  // Said aloud only when it is something else.
  if (box.textContent !== text) box.textContent = text;
  box.hidden = !wanted.length;
}

const drawnOnce = new Set();
let round = 0;
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  const mine = ++round;
  const outcomes = await Promise.allSettled(PARTS.map((part) => part()));
  if (mine !== round) return;
  const failed = outcomes.map((outcome) => outcome.status === "rejected");
  const sentences = outcomes.flatMap((outcome) => (outcome.reason ? [outcome.reason.message] : outcome.value ?? []));
  tell(sentences, failed.some((bad, part) => bad && drawnOnce.has(part)));
  failed.forEach((bad, part) => bad || drawnOnce.add(part));
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
place("by").addEventListener("change", refresh);
refresh();
