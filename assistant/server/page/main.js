// Puts the page together: what comes over the connection goes to the part that shows it.

import { Camera } from "./camera.js";
import { Chart } from "./chart.js";
import { Clock } from "./clock.js";
import { Connection } from "./connection.js";
import { byId, make, onSubmit } from "./dom.js";
import { MemorySearch } from "./memory.js";
import { Settings } from "./settings.js";
import { Timeline } from "./timeline.js";

const MOST_LOSSES = 100;

const clock = new Clock();
const connection = new Connection();
const chart = new Chart(byId("chart"));
const timeline = new Timeline(clock);
const settings = new Settings(connection, chart, timeline);
const memory = new MemorySearch(connection, clock, timeline);
new Camera(connection);

const on = (type, handler) => connection.addEventListener(type, (event) => handler(event.detail));

connection.addEventListener("lost", () => badge("offline", "offline, trying again"));

on("restart", () => {
  timeline.clear();
  chart.clear();
  byId("losses").replaceChildren(make("li", { class: "hint" }, "none so far"));
});

on("state", (told) => {
  clock.live = told.live;
  clock.epochS = told.epoch_s;
  byId("source").textContent = told.source;
  byId("camera").hidden = !told.browser;
  badge(told.state, told.state === "lost" ? `lost, trying again: ${told.text}` : [told.state, told.text].filter(Boolean).join(": "));
  byId("problem").hidden = told.memory_problem === "";
  byId("problem").textContent = told.memory_problem;
  memory.state(told);
});

on("settings", (told) => settings.take(told));

on("score", (told) => {
  if (told.query_index !== 0) return;
  chart.add(told.at_s, told.score, told.threshold, chart.threshold);
  settings.scores(told.alerts);
});

on("shift", (told) => told.query_index === 0 && chart.mark(told.at_s, "shift"));

on("caption", (told) => {
  timeline.caption(told);
  const latest = byId("now");
  if (told.start_s >= Number(latest.dataset.at ?? -1)) {
    latest.dataset.at = told.start_s;
    if (latest.textContent !== told.text) latest.textContent = told.text;
  }
});

on("restart", () => delete byId("now").dataset.at);

on("fired", (told) => {
  chart.mark(told.at_s, "fired");
  timeline.fired(told);
  settings.fired(told);
});

on("meters", (told) => {
  byId("meter-window").textContent = `${told.window_p50_ms.toFixed(0)} / ${told.window_p99_ms.toFixed(0)} ms`;
  byId("meter-latency").textContent = told.latency_ms === null ? "–" : `${told.latency_ms.toFixed(0)} ms`;
  byId("meter-duty").textContent = `${(100 * told.decode_duty).toFixed(1)} %`;
  byId("meter-rate").textContent = told.decodes_per_minute.toFixed(0);
  byId("meter-dropped").textContent = `${told.windows_dropped} of ${told.windows + told.windows_dropped}`;
  byId("meter-level").textContent = told.level;
});

on("dropped", (told) => loss(clock.text(told.at_s), `${told.count} dropped: ${told.reason}`));
on("level", (told) => loss(clock.text(told.at_s), `${told.change} to level ${told.level}: ${told.reason}`));
on("notice", (told) => loss("", told.text));

let showing = false;
on("picture", async (told) => {
  if (showing) return;
  showing = true;
  try {
    const picture = await createImageBitmap(new Blob([told.jpeg], { type: "image/jpeg" }));
    const canvas = byId("picture");
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      [canvas.width, canvas.height] = [picture.width, picture.height];
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.dataset.at = told.at_s;
    picture.close();
  } finally {
    showing = false;
  }
});

onSubmit(byId("ask"), byId("answer"), async () => {
  const choices = byId("choices").value.split(",").map((text) => text.trim()).filter(Boolean);
  const message = { type: "ask", question: byId("question").value };
  if (choices.length) message.choices = choices;
  const reply = await connection.request(message);
  const others = reply.matches.length > 1
    ? [make("ol", {}, ...reply.matches.map((one) => make("li", {}, `${one.text} (${one.score.toFixed(3)})`)))]
    : [];
  byId("answer").replaceChildren(make("p", {}, reply.text || "(no words)"), ...others);
});

function badge(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
}

function loss(time, text) {
  const list = byId("losses");
  list.querySelector(".hint")?.remove();
  list.prepend(make("li", {}, time === "" ? "" : make("span", { class: "time" }, `${time} `), text));
  while (list.children.length > MOST_LOSSES) list.lastElementChild.remove();
}

connection.start();
