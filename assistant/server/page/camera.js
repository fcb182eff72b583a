// This device's camera as the assistant's source: small JPEGs, no faster than the network takes them.

import { byId } from "./dom.js";

const SIDE = 480;
const RATE = 10; // pictures a second
const MOST_WAITING = 200000; // bytes

export class Camera {
  #connection;
  #button = byId("camera-button");
  #state = byId("camera-state");
  #stream = null;
  #timer = 0;

  constructor(connection) {
    this.#connection = connection;
    this.#button.addEventListener("click", () => (this.#stream === null ? this.#start() : this.#stop("")));
    // The server forgets who had the camera when the connection was lost.
    connection.addEventListener("open", () => this.#stream !== null && connection.send({ type: "camera", on: 1 }));
  }

  async #start() {
    if (navigator.mediaDevices === undefined) {
      this.#state.textContent = "Browsers give their camera to https pages only: start with --tls-cert and --tls-key.";
      return;
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: "environment", width: { ideal: 640 }, frameRate: { ideal: 15 } },
      });
      await this.#connection.request({ type: "camera", on: 1 });
    } catch (error) {
      this.#stop(`The camera can’t be used: ${error.message}`);
      return;
    }
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = this.#stream;
    await video.play();
    const canvas = document.createElement("canvas");
    // A square out of the middle: it keeps its size when the phone is turned.
    canvas.width = canvas.height = SIDE;
    const context = canvas.getContext("2d");
    let coding = false;
    this.#timer = setInterval(() => {
      if (coding || this.#connection.waiting > MOST_WAITING || video.videoWidth === 0) return;
      const side = Math.min(video.videoWidth, video.videoHeight);
      const [x, y] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
      context.drawImage(video, x, y, side, side, 0, 0, SIDE, SIDE);
      coding = true;
      canvas.toBlob((blob) => {
        coding = false;
        if (blob !== null && this.#stream !== null) this.#connection.sendPicture(blob);
      }, "image/jpeg", 0.8);
    }, 1000 / RATE);
    this.#stream.getVideoTracks()[0].addEventListener("ended", () => this.#stop("The camera went away."));
    this.#button.textContent = "Stop the camera";
    this.#state.textContent = "This device’s camera is being watched.";
  }

  #stop(sentence) {
    clearInterval(this.#timer);
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#connection.send({ type: "camera", on: 0 });
    this.#button.textContent = "Use this device’s camera";
    this.#state.textContent = sentence;
  }
}
