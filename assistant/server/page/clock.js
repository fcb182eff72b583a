// Times as people read them: a camera's by the clock, a file's from its beginning.

export class Clock {
  live = false;
  epochS = 0;

  // A time of the stream.
  text(atS) {
    return this.live ? wallTime(this.epochS + atS) : fromBeginning(atS);
  }
}

export function fromBeginning(atS) {
  const tenths = Math.max(0, Math.round(10 * atS));
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

export function wallTime(sinceS) {
  return new Date(1000 * sinceS).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// A remembered time: with its day, unless that is today.
export function wallMoment(sinceS) {
  const then = new Date(1000 * sinceS);
  const day = then.toDateString() === new Date().toDateString() ? "" : `${then.toLocaleDateString()} `;
  return day + wallTime(sinceS);
}
