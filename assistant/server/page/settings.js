// Alerts, queries and the gate: what holds, and the forms that change it.

import { byId, make, onSubmit } from "./dom.js";

const STEPS = 100; // of the slider, each way: to 1/8 and 8 times the bundle's threshold

export class Settings {
  #connection;
  #chart;
  #timeline;
  #slider = byId("threshold");
  #bundle = 1;
  #alerts = new Map(); // number -> {item, meter, fired}

  constructor(connection, chart, timeline) {
    this.#connection = connection;
    this.#chart = chart;
    this.#timeline = timeline;
    onSubmit(byId("alert"), byId("alert-state"), () => this.#addAlert());
    onSubmit(byId("query"), byId("query-state"), () => this.#addQuery());
    this.#slider.addEventListener("input", () => this.#show(this.#fromSlider()));
    this.#slider.addEventListener("change", () => this.#send(this.#fromSlider()));
    byId("threshold-reset").addEventListener("click", () => this.#send(this.#bundle));
    chart.addEventListener("drag", (event) => this.#show(event.detail));
    chart.addEventListener("drop", (event) => this.#send(event.detail));
  }

  take(told) {
    this.#bundle = told.gate.bundle;
    if (!this.#chart.dragging) this.#show(told.gate.threshold);
    this.#timeline.manyQueries = told.queries.length > 1;
    byId("queries").replaceChildren(...told.queries.map((text, i) => this.#query(text, i, told.queries.length)));
    this.#alerts.clear();
    byId("alerts").replaceChildren(...told.alerts.map((one) => this.#alert(one)));
  }

  // Scores and thresholds of the alerts, with every window.
  scores(alerts) {
    for (const [number, [score, threshold]] of Object.entries(alerts)) {
      const alert = this.#alerts.get(Number(number));
      if (alert !== undefined) alert.meter.textContent = scored(score, threshold, alert.fired);
    }
  }

  fired(told) {
    const alert = this.#alerts.get(told.alert);
    if (alert === undefined) return;
    alert.fired += 1;
    alert.meter.textContent = scored(told.score, told.threshold, alert.fired);
    byId("alert-state").textContent = `Fired: ${told.text}`;
  }

  #fromSlider() {
    return this.#bundle * 8 ** (Number(this.#slider.value) / STEPS);
  }

  #show(threshold) {
    this.#chart.threshold = threshold;
    this.#slider.value = Math.round(STEPS * Math.log(threshold / this.#bundle) / Math.log(8));
    this.#slider.setAttribute("aria-valuetext", threshold.toFixed(3));
    byId("threshold-value").textContent = threshold.toFixed(3);
  }

  #send(threshold) {
    this.#show(threshold);
    this.#connection.request({ type: "gate", threshold })
      .catch((error) => (byId("threshold-value").textContent = error.message));
  }

  async #addAlert() {
    const message = { type: "alert.add", text: byId("alert-text").value };
    const threshold = byId("alert-threshold").value;
    if (threshold !== "") message.threshold = Number(threshold);
    await this.#connection.request(message);
    byId("alert").reset();
  }

  async #addQuery() {
    await this.#connection.request({ type: "query.add", text: byId("query-text").value });
    byId("query").reset();
  }

  #alert(one) {
    const meter = make("span", { class: "time" }, scored(one.score, one.threshold, one.fired));
    const button = this.#remove(`Remove the alert ${one.text}`, { type: "alert.remove", alert: one.alert }, "alert-state");
    this.#alerts.set(one.alert, { meter, fired: one.fired });
    return make("li", {}, make("span", {}, one.text), meter, button);
  }

  #query(text, i, count) {
    const parts = [make("span", {}, text)];
    if (i === 0) parts.push(make("span", { class: "time" }, "alerts look here"));
    if (count > 1) parts.push(this.#remove(`Remove the query ${text}`, { type: "query.remove", text }, "query-state"));
    return make("li", {}, ...parts);
  }

  #remove(label, message, status) {
    const button = make("button", { class: "plain", type: "button", "aria-label": label }, "Remove");
    button.addEventListener("click", () =>
      this.#connection.request(message).catch((error) => (byId(status).textContent = error.message)));
    return button;
  }
}

function scored(score, threshold, fired) {
  const against = threshold === null ? "calibrating on the stream" : `of ${threshold.toFixed(3)}`;
  return `${score.toFixed(3)} ${against}${fired ? `, fired ${fired}×` : ""}`;
}
