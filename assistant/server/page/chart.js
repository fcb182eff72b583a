// The gate's score over the last minute, its threshold as a line to drag, shifts and alerts as marks.

const SPAN_S = 60;

export class Chart extends EventTarget {
  #canvas;
  #scores = []; // {at, value}: on the scale of the Ward threshold
  #marks = []; // {at, kind}
  #threshold = 0;
  #dragging = false;
  #drawn = false;
  #size = [0, 0];

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    canvas.addEventListener("pointerdown", (event) => {
      // By finger only near the line: elsewhere the page scrolls.
      if (event.pointerType === "touch" && Math.abs(event.offsetY - this.#y(this.#threshold)) > 28) return;
      this.#dragging = true;
      canvas.setPointerCapture(event.pointerId);
      this.#drag(event, "drag");
    });
    canvas.addEventListener("pointermove", (event) => this.#dragging && this.#drag(event, "drag"));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => {
        if (!this.#dragging) return;
        this.#dragging = false;
        this.#drag(event, "drop");
      });
    }
  }

  get dragging() {
    return this.#dragging;
  }

  get threshold() {
    return this.#threshold;
  }

  set threshold(value) {
    this.#threshold = value;
    this.#later();
  }

  clear() {
    this.#scores = [];
    this.#marks = [];
    this.#later();
  }

  // `score` was decided against `threshold`, whichever of the gate's two rules it came from; on the
  // scale of the line, it lies as far above or below it as it lay from its own.
  add(atS, score, threshold, line) {
    if (this.#scores.length && atS < this.#scores.at(-1).at) {
      this.#scores = this.#scores.filter((one) => one.at < atS);
      this.#marks = this.#marks.filter((one) => one.at < atS);
    }
    this.#scores.push({ at: atS, value: threshold > 0 ? (score / threshold) * line : score });
    while (this.#scores[0].at < atS - SPAN_S) this.#scores.shift();
    while (this.#marks.length && this.#marks[0].at < atS - SPAN_S) this.#marks.shift();
    this.#later();
  }

  mark(atS, kind) {
    this.#marks.push({ at: atS, kind });
    this.#later();
  }

  get #top() {
    const highest = Math.max(0, ...this.#scores.map((one) => one.value));
    return Math.max(1.25 * this.#threshold, Math.min(highest, 4 * this.#threshold)) * 1.05 || 1;
  }

  #y(value) {
    return this.#canvas.clientHeight * (1 - Math.min(1, value / this.#top));
  }

  #drag(event, kind) {
    const share = 1 - event.offsetY / this.#canvas.clientHeight;
    const threshold = Math.max(1e-3, Math.min(1, Math.max(0.01, share)) * this.#top);
    this.dispatchEvent(new CustomEvent(kind, { detail: threshold }));
  }

  #later() {
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => {
      this.#drawn = false;
      this.#draw();
    });
  }

  #draw() {
    const canvas = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (this.#size[0] !== width * ratio || this.#size[1] !== height * ratio) {
      this.#size = [width * ratio, height * ratio];
      [canvas.width, canvas.height] = this.#size;
    }
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const end = this.#scores.length ? this.#scores.at(-1).at : 0;
    const x = (at) => width * (1 - (end - at) / SPAN_S);
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    for (let back = 10; back < SPAN_S; back += 10) {
      line(context, x(end - back), 0, x(end - back), height);
    }
    for (const { at, kind } of this.#marks) {
      context.strokeStyle = colour(kind === "fired" ? "--bad" : "--shift");
      context.setLineDash(kind === "fired" ? [] : [2, 3]);
      line(context, x(at), 0, x(at), height);
    }
    context.setLineDash([]);
    context.strokeStyle = colour("--score");
    context.lineWidth = 2;
    context.beginPath();
    for (const { at, value } of this.#scores) context.lineTo(x(at), this.#y(value));
    context.stroke();
    context.strokeStyle = colour("--threshold");
    context.setLineDash([6, 4]);
    line(context, 0, this.#y(this.#threshold), width, this.#y(this.#threshold));
    context.setLineDash([]);
    context.fillStyle = colour("--soft");
    context.font = "12px system-ui, sans-serif";
    context.fillText("last 60 s", 4, height - 5);
    context.fillStyle = colour("--threshold");
    context.fillText("threshold", 4, Math.max(12, this.#y(this.#threshold) - 5));
    const now = this.#scores.at(-1)?.value ?? 0;
    canvas.setAttribute("aria-label",
      `The gate’s score over the last minute: now ${now.toFixed(2)}, threshold ${this.#threshold.toFixed(2)}`);
  }
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
