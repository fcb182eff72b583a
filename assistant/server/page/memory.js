// Memory search: what was found, and what was going on around it.

import { wallMoment } from "./clock.js";
import { byId, make, onSubmit } from "./dom.js";

export class MemorySearch {
  #connection;
  #clock;
  #timeline;
  #told = byId("recall-told");

  constructor(connection, clock, timeline) {
    this.#connection = connection;
    this.#clock = clock;
    this.#timeline = timeline;
    onSubmit(byId("recall"), this.#told, () => this.#search());
  }

  state(told) {
    byId("recall").hidden = !told.remembers;
    const pictures = told.thumbnails ? "small pictures are kept" : "no pictures are kept";
    byId("memory-state").textContent = told.remembers
      ? `Times, texts and vectors of all that was seen; ${pictures}.`
      : "Nothing is remembered: start with --memory FILE.";
  }

  async #search() {
    const back = byId("recall-since").value;
    const message = { type: "recall", text: byId("recall-text").value, k: 8 };
    if (back !== "") message.since_s = Date.now() / 1000 - Number(back);
    const reply = await this.#connection.request(message);
    byId("around").hidden = true;
    this.#told.textContent = reply.found.length ? `${reply.found.length} found, nearest first` : "Nothing was found.";
    byId("found").replaceChildren(...reply.found.map((one) => this.#found(one)));
  }

  #found(one) {
    const button = make("button", { class: "plain", type: "button" }, "Jump there");
    button.setAttribute("aria-label", `Jump to ${one.text || "this"} at ${wallMoment(one.start_s)}`);
    button.addEventListener("click", () => this.#jump(one));
    return make("li", {}, ...thumbnail(one),
      make("span", { class: "what" }, one.text || "(no text)"),
      make("span", { class: "time" }, `${wallMoment(one.start_s)}, ${one.score.toFixed(3)}`),
      button);
  }

  async #jump(one) {
    this.#timeline.show(one.start_s - this.#clock.epochS);
    try {
      const reply = await this.#connection.request({ type: "around", at_s: one.start_s });
      byId("around-list").replaceChildren(...reply.found.map((near) =>
        make("li", { class: near.row === one.row ? "marked" : "" }, ...thumbnail(near),
          make("span", { class: "what" }, near.text || "(no text)"),
          make("span", { class: "time" }, `${wallMoment(near.start_s)}–${wallMoment(near.end_s)}`))));
      byId("around").hidden = false;
      byId("around-title").textContent = `Around ${wallMoment(one.start_s)}`;
      byId("around-title").focus();
    } catch (error) {
      this.#told.textContent = error.message;
    }
  }
}

function thumbnail(one) {
  return one.thumbnail ? [make("img", { src: `/thumbnail/${one.row}`, alt: "", loading: "lazy" })] : [];
}
