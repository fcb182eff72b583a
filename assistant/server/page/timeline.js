// Captions and alerts by their times, newest first; a caption told again replaces its first form.

import { byId, make } from "./dom.js";

const MOST = 300;

export class Timeline {
  #list = byId("timeline");
  #items = new Map(); // key -> {item, startS}
  #clock;
  #manyQueries = false;

  constructor(clock) {
    this.#clock = clock;
  }

  set manyQueries(many) {
    this.#manyQueries = many;
  }

  clear() {
    this.#items.clear();
    this.#list.replaceChildren();
  }

  caption(told) {
    const end = told.final ? this.#clock.text(told.end_s) : "";
    const parts = [
      make("span", { class: "time" }, `${this.#clock.text(told.start_s)}–${end}`),
      make("span", {}, told.text),
    ];
    if (this.#manyQueries) parts.push(make("span", { class: "query" }, told.query));
    const key = `${told.query}|${told.start_s}`;
    this.#put(key, told.start_s, told.final ? "" : "open", parts);
    if (!told.final) this.#close(told.query, told.start_s);
  }

  fired(told) {
    this.#put(`alert ${told.n}`, told.at_s, "fired", [
      make("span", { class: "time" }, this.#clock.text(told.at_s)),
      make("span", {}, `Alert: ${told.text} (${told.score.toFixed(3)})`),
    ]);
  }

  // A caption whose end was never told (its decode was overtaken) ends where the next one begins.
  #close(query, startS) {
    for (const [key, { item, startS: began }] of this.#items) {
      if (began >= startS || !item.classList.contains("open") || !key.startsWith(`${query}|`)) continue;
      item.classList.remove("open");
      item.firstElementChild.textContent = `${this.#clock.text(began)}–${this.#clock.text(startS)}`;
    }
  }

  // Marks and shows what was going on at a time of the stream; false where nothing is listed.
  show(atS) {
    for (const { item } of this.#items.values()) item.classList.remove("marked");
    let nearest = null;
    for (const entry of this.#items.values()) {
      if (entry.startS <= atS + 0.6 && (nearest === null || entry.startS > nearest.startS)) nearest = entry;
    }
    if (nearest === null || atS - nearest.startS > 60) return false;
    nearest.item.classList.add("marked");
    nearest.item.scrollIntoView({ block: "nearest" });
    return true;
  }

  #put(key, startS, kind, parts) {
    const known = this.#items.get(key);
    if (known !== undefined) {
      known.item.className = kind;
      known.item.replaceChildren(...parts);
      return;
    }
    const item = make("li", { class: kind }, ...parts);
    item.dataset.at = startS;
    let before = this.#list.firstElementChild;
    while (before !== null && Number(before.dataset.at) > startS) before = before.nextElementSibling;
    this.#list.insertBefore(item, before);
    this.#items.set(key, { item, startS });
    if (this.#items.size > MOST) {
      const [oldest, entry] = [...this.#items].reduce((a, b) => (a[1].startS <= b[1].startS ? a : b));
      entry.item.remove();
      this.#items.delete(oldest);
    }
  }
}
