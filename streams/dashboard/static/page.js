// Keeps the page as the server says it is: swaps sections that changed, draws the two charts.

const { pool, span } = document.body.dataset;
const live = document.getElementById("live");
const charts = new Map(); // name -> {plot, element}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const axes = (unit) => ({
  stroke: colour("--dim"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--grid"), width: 1 },
  ticks: { show: false }, ...unit,
});

const two = (number) => String(number).padStart(2, "0");

/** The hours of the day, and the day where one begins. */
const hours = (_, splits) => splits.map((seconds) => {
  const at = new Date(seconds * 1000);
  const day = at.getUTCHours() + at.getUTCMinutes() ? "" : `\n${at.getUTCMonth() + 1}-${two(at.getUTCDate())}`;
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}${day}`;
});

const KINDS = {
  traffic: () => ({
    series: [{},
      { stroke: colour("--grey"), fill: colour("--grid"), width: 1.5, scale: "asked", points: { show: false } },
      { stroke: colour("--calm"), width: 2, scale: "hit", points: { show: false }, spanGaps: false }],
    scales: { asked: { range: (_, low, high) => [0, Math.max(1, high * 1.15)] }, hit: { range: [0, 101] } },
    axes: [axes({ values: hours, size: 36 }), axes({ scale: "asked", size: 44 }),
      axes({ scale: "hit", side: 1, size: 44, grid: { show: false }, values: (_, ticks) => ticks.map((v) => `${v} %`) })],
  }),
  money: () => ({
    series: [{},
      { stroke: colour("--calm"), width: 2, scale: "money", points: { show: false } },
      { stroke: colour("--amber-fill"), width: 2, scale: "money", points: { show: false } }],
    scales: { money: { range: (_, low, high) => [0, Math.max(1e-6, high * 1.1)] } },
    axes: [axes({ values: hours, size: 36 }), axes({ scale: "money", size: 56 })],
  }),
};

const utc = (seconds) => new Date((seconds + new Date(seconds * 1000).getTimezoneOffset() * 60) * 1000);

function draw(element) {
  const kind = KINDS[element.dataset.chart];
  const plot = new uPlot({
    width: element.clientWidth || 320, height: element.clientHeight || 200, tzDate: utc,
    cursor: { show: false }, legend: { show: false }, padding: [10, 6, 0, 0], ...kind(),
  }, JSON.parse(element.dataset.values), element);
  charts.set(element.dataset.chart, { plot, element });
}

function redraw() {
  for (const { plot, element } of charts.values()) {
    plot.destroy();
    draw(element);
  }
}

/** A chart that is there already takes the new values, so that nothing flickers. */
function keepCharts(fresh) {
  for (const element of fresh.querySelectorAll("[data-chart]")) {
    const known = charts.get(element.dataset.chart);
    if (!known) continue;
    known.element.dataset.values = element.dataset.values;
    known.element.setAttribute("aria-label", element.getAttribute("aria-label"));
    known.plot.setData(JSON.parse(element.dataset.values));
    element.replaceWith(known.element);
  }
}

function swap(name, html) {
  const part = document.querySelector(`[data-section="${name}"]`);
  if (!part) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  keepCharts(fresh.content);
  for (const open of part.querySelectorAll("details[open][id]")) {
    fresh.content.getElementById(open.id)?.setAttribute("open", "");
  }
  const places = [...part.querySelectorAll("[tabindex='0']")].map((one) => [one.scrollTop, one.scrollLeft]);
  const focused = part.contains(document.activeElement) ? address(part, document.activeElement) : null;
  part.replaceChildren(fresh.content);
  part.querySelectorAll("[tabindex='0']").forEach((one, i) => places[i] && one.scrollTo(places[i][1], places[i][0]));
  if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
  part.querySelectorAll("[data-chart]").forEach((one) => charts.has(one.dataset.chart) || draw(one));
}

/** How to find what had the focus in a part that is drawn again. */
function address(part, element) {
  if (element.matches("a[href]")) return `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
  if (element.matches("summary")) return `#${CSS.escape(element.parentElement.id)} > summary`;
  return element.matches("[tabindex='0']") ? "[tabindex='0']" : null;
}

function say(state, text) {
  if (live.dataset.state === state && live.dataset.text === text) return;
  live.dataset.state = state;
  live.dataset.text = text;
  live.lastElementChild.textContent = text;
}

let stream = null;
let who = document.getElementById("who").value;

function listen() {
  stream?.close();
  stream = new EventSource(`/events?${new URLSearchParams({ pool, span, who })}`);
  stream.onmessage = (event) => {
    say("live", "live");
    for (const [name, html] of Object.entries(JSON.parse(event.data))) swap(name, html);
  };
  stream.onerror = () => {
    say("lost", "not live: the dashboard does not answer");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

const dialog = document.getElementById("explain");
const body = document.getElementById("explain-body");

async function explain(link) {
  const answer = await fetch(`${link.href}&fragment`).catch(() => null);
  if (answer?.ok) body.innerHTML = await answer.text();
  else body.textContent = "Not known: the dashboard does not answer.";
  dialog.showModal();
  body.focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-explain]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  explain(link);
});

document.getElementById("pool").addEventListener("change", (event) => {
  location.search = new URLSearchParams({ pool: event.target.value, span });
});

document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  who = document.getElementById("who").value;
  listen();
});

const change = document.getElementById("change-form");
const what = document.getElementById("change-what");
const said = document.getElementById("change-said");

function fit() {
  for (const label of change.querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(what.value);
  }
}

change.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { token, ...asked } = Object.fromEntries(new FormData(change));
  const answer = await fetch("/change", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ ...asked, pool }),
  }).catch(() => null);
  const told = answer ? await answer.json() : { error: "the dashboard does not answer" };
  said.textContent = told.said ?? `Not changed: ${told.error}`;
  said.className = `said ${answer?.ok ? "good" : "bad"}`;
});
what.addEventListener("change", fit);
document.getElementById("change").hidden = false;
fit();

document.querySelectorAll("[data-chart]").forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(() => charts.forEach(({ plot, element }) => {
  if (element.clientWidth) plot.setSize({ width: element.clientWidth, height: element.clientHeight });
})).observe(document.getElementById("main"));
listen();
