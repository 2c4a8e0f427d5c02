// The page: ink from mouse, finger or pen, a photo or the camera -> the network's image -> probabilities as bars.

import { pixelsOf, placement } from "./picture.js";
import { likeMnist, SIDE } from "./preprocess.js";

const INK_WIDTH = 0.06; // of the board's side: 0.05 to 0.07 are read equally well, be the digit large or small
const PREDICT_EVERY_MS = 100; // while drawing, and with the camera

const element = (id) => document.getElementById(id);
const board = element("board");
const video = element("video");
const ink = board.getContext("2d", { willReadFrequently: true });
ink.strokeStyle = ink.fillStyle = "white";
ink.lineWidth = INK_WIDTH * board.width;

let classifier = null; // until the model is there, one can draw already
let picture = null; // what is on the board instead of a drawing: { source, width, height }
let pen = null; // the pointer that is drawing: its id, and where it was last
let timer = null;

/** height * width grey pixels, or with all channels -> `{ probabilities, milliseconds }`. */
export function classify(pixels) {
  return classifier.classify(pixels);
}

/** Predicts what is on the board now and shows it. */
export async function predict() {
  clearTimeout(timer);
  timer = null;
  const shape = classifier?.shape ?? { height: SIDE, width: SIDE, channels: 1 };
  const pixels = picture ? pixelsOf(picture.source, picture, shape, classifier?.resize ?? "stretch") : drawn(shape);
  showPixels(pixels ?? new Uint8ClampedArray(shape.height * shape.width), shape);
  if (!classifier) return;
  if (pixels) showPrediction(await classify(pixels));
  else showNothing();
}

/** The drawing as the network takes it; null where there is none. 28x28 pixels are taken to be those of MNIST. */
function drawn(shape) {
  const drawing = inkOnBoard();
  if (shape.height === SIDE && shape.width === SIDE) return likeMnist(drawing, board.width, board.height);
  return drawing.some((opacity) => opacity) ? pixelsOf(board, board, shape, classifier.resize) : null;
}

function clear() {
  stopCamera();
  picture = null;
  ink.clearRect(0, 0, board.width, board.height);
  predict();
}

function inkOnBoard() {
  const rgba = ink.getImageData(0, 0, board.width, board.height).data;
  const opacity = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < opacity.length; i++) opacity[i] = rgba[4 * i + 3];
  return opacity;
}

function showPixels(pixels, { height, width }) {
  const seen = element("seen");
  Object.assign(seen, { width, height });
  const channels = pixels.length / (width * height);
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const color = [0, 1, 2].map((at) => pixels[i * channels + (channels === 3 ? at : 0)]);
    image.data.set([...color, 255], 4 * i);
  }
  seen.getContext("2d").putImageData(image, 0, 0);
}

function showPrediction({ probabilities, milliseconds }) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const sure = probabilities[best] >= classifier.leastConfidence;
  element("prediction").textContent = sure ? classifier.labels[best] : "none of these";
  element("time").textContent = `${milliseconds.toFixed(1)} ms in this browser`;
  showBars(probabilities, best);
}

function showNothing() {
  element("prediction").textContent = "?";
  element("time").textContent = "Draw with mouse, finger or pen";
  showBars(classifier.labels.map(() => 0));
}

function showBars(probabilities, best) {
  probabilities.forEach((probability, i) => {
    const row = element("classes").children[i];
    row.classList.toggle("best", i === best);
    row.querySelector(".bar").style.setProperty("--share", probability);
    row.querySelector(".percent").textContent = `${(100 * probability).toFixed(1)} %`;
  });
}

function showLabels(labels) {
  element("classes").replaceChildren();
  for (const label of labels) {
    const row = element("bar").content.cloneNode(true);
    row.querySelector(".label").textContent = label;
    element("classes").append(row);
  }
}

/** Puts a picture on the board, all of it, in place of what was there. */
function show(source, width, height) {
  picture = { source, width, height };
  const { to } = placement("pad", picture, board);
  ink.clearRect(0, 0, board.width, board.height);
  ink.drawImage(source, ...to);
}

/** An image whose transparent parts are white, as training has them. */
function onWhite(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  return canvas;
}

/** Shows and classifies a photo, a file; the browser turns it upright. */
export async function takePhoto(file) {
  stopCamera();
  try {
    const image = await createImageBitmap(file);
    show(onWhite(image), image.width, image.height);
  } catch (error) {
    element("time").textContent = `${file.name} is no picture that this browser can read`;
    return;
  }
  await predict();
}

async function startCamera() {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    element("time").textContent = `The camera cannot be used: ${error.message}`; // none, or not allowed
    return;
  }
  await video.play();
  element("camera").setAttribute("aria-pressed", "true");
  const stream = video.srcObject;
  while (video.srcObject === stream) {
    const frame = await createImageBitmap(video); // which stays when the camera stops
    show(frame, frame.width, frame.height);
    await predict();
    await new Promise((done) => setTimeout(done, PREDICT_EVERY_MS));
  }
}

/** Stops the camera; its last picture stays on the board until something else comes there. */
function stopCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  element("camera").setAttribute("aria-pressed", "false");
}

function position(event) {
  const { left, top, width, height } = board.getBoundingClientRect();
  return { x: ((event.clientX - left) / width) * board.width, y: ((event.clientY - top) / height) * board.height };
}

function drawTo(to) {
  ink.beginPath();
  ink.moveTo(pen.last.x, pen.last.y);
  ink.lineTo(to.x, to.y);
  ink.stroke();
  ink.beginPath();
  ink.arc(to.x, to.y, ink.lineWidth / 2, 0, 2 * Math.PI); // round ends; and a tap is a dot
  ink.fill();
  pen.last = to;
  timer ??= setTimeout(predict, PREDICT_EVERY_MS);
}

board.addEventListener("pointerdown", (event) => {
  if (pen || event.button !== 0) return;
  if (picture) clear();
  board.setPointerCapture(event.pointerId);
  pen = { id: event.pointerId, last: position(event) };
  drawTo(pen.last);
});
board.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pen?.id) return;
  for (const step of event.getCoalescedEvents?.() ?? [event]) drawTo(position(step)); // plain http has no such method
});
board.addEventListener("lostpointercapture", () => {
  pen = null;
});
element("clear").addEventListener("click", clear);
element("photo").addEventListener("click", () => element("photo-file").click());
element("open").addEventListener("click", () => element("model-file").click());
element("camera").addEventListener("click", () => {
  if (video.srcObject) stopCamera();
  else startCamera();
});
onChosen("photo-file", takePhoto);
onChosen("model-file", async (file) => {
  const { openClassifier } = await import("./classifier.js");
  await use(file.name, async () => openClassifier(new Uint8Array(await file.arrayBuffer())));
});

function onChosen(id, use) {
  element(id).addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    if (file) await use(file);
    target.value = ""; // so that the same file can be chosen again
  });
}

/** Takes a model, or says why it cannot be one. */
async function use(name, open) {
  try {
    classifier = await open();
    showLabels(classifier.labels);
    element("error").hidden = true;
    element("answer").hidden = false;
    await predict();
  } catch (error) {
    console.error(error);
    element("error").textContent =
      `Cannot use ${name}: ${error.message.replace(/\.$/, "")}. ` +
      "The page takes .tflite files with uint8 or float32 input of 1 or 3 channels, such as an exported android.tflite, " +
      "and needs LiteRT.js: see README.md.";
    element("error").hidden = false;
    element("answer").hidden = true;
  }
}

const model = new URLSearchParams(location.search).get("model") ?? "model.tflite";
await use(model, async () => (await import("./classifier.js")).loadClassifier(new URL(model, location.href)));
