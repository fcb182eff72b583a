// The WebSocket: comes back by itself, catches up, and pairs requests with their replies.

const SLOWEST_MS = 8000;
const PATIENCE_MS = 20000;

export class Connection extends EventTarget {
  #socket = null;
  #next = 1;
  #open = new Map(); // request number -> {resolve, reject, timer}
  #run = "";
  #last = 0;
  #seen = new Set();
  #waitMs = 500;
  #timer = 0;

  start() {
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
      this.send({ type: "pictures", on: document.hidden ? 0 : 1 });
    });
    this.#connect();
  }

  get connected() {
    return this.#socket !== null && this.#socket.readyState === WebSocket.OPEN;
  }

  // Bytes that wait to be sent: a slow network shows here.
  get waiting() {
    return this.#socket === null ? 0 : this.#socket.bufferedAmount;
  }

  send(message) {
    const id = this.#next++;
    if (this.connected) this.#socket.send(JSON.stringify({ id, ...message }));
    return id;
  }

  sendPicture(blob) {
    if (this.connected) this.#socket.send(blob);
  }

  // Resolves with the reply; rejects with the server's sentence.
  request(message) {
    return new Promise((resolve, reject) => {
      if (!this.connected) {
        reject(new Error("Not connected; it is being tried again."));
        return;
      }
      const id = this.send(message);
      const timer = setTimeout(() => this.#settle(id, "reject", new Error("No answer came in time.")), PATIENCE_MS);
      this.#open.set(id, { resolve, reject, timer });
    });
  }

  #settle(id, how, value) {
    const request = this.#open.get(id);
    if (request === undefined) return;
    this.#open.delete(id);
    clearTimeout(request.timer);
    request[how](value);
  }

  #hurry() {
    if (this.#socket === null) {
      clearTimeout(this.#timer);
      this.#connect();
    }
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live?run=${this.#run}&after=${this.#last}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#waitMs = 500;
      this.dispatchEvent(new Event("open"));
      if (document.hidden) this.send({ type: "pictures", on: 0 });
    });
    socket.addEventListener("message", (event) => this.#take(event.data));
    socket.addEventListener("close", () => {
      this.#socket = null;
      for (const id of [...this.#open.keys()]) this.#settle(id, "reject", new Error("The connection was lost."));
      this.dispatchEvent(new Event("lost"));
      this.#timer = setTimeout(() => this.#connect(), this.#waitMs * (0.75 + Math.random() / 2));
      this.#waitMs = Math.min(SLOWEST_MS, 2 * this.#waitMs);
    });
  }

  #take(data) {
    if (typeof data !== "string") {
      const atS = new DataView(data).getFloat64(0, true);
      this.#tell("picture", { at_s: atS, jpeg: data.slice(8) });
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "hello" && message.run !== this.#run) {
      this.#run = message.run;
      this.#last = 0;
      this.#seen.clear();
      this.#tell("restart", message);
    }
    if (message.n !== undefined) {
      if (this.#seen.has(message.n)) return;
      this.#seen.add(message.n);
      if (this.#seen.size > 6000) this.#seen = new Set([...this.#seen].slice(-3000));
    }
    if (message.type === "missed") this.send({ type: "catch_up", after: this.#last });
    else if (message.type === "reply") this.#settle(message.id, "resolve", message);
    else if (message.type === "refused") this.#settle(message.id, "reject", new Error(message.text));
    this.#last = Math.max(this.#last, message.n ?? 0);
    this.#tell(message.type, message);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
