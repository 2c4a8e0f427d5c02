// The page: ink from mouse, finger or pen -> 28x28 pixels -> probabilities as bars.

import { likeMnist, SIDE } from "./preprocess.js";

const INK_WIDTH = 0.06; // of the board's side: 0.05 to 0.07 are read equally well, be the digit large or small
const PREDICT_EVERY_MS = 100; // while drawing

const element = (id) => document.getElementById(id);
const board = element("board");
const ink = board.getContext("2d", { willReadFrequently: true });
ink.strokeStyle = ink.fillStyle = "white";
ink.lineWidth = INK_WIDTH * board.width;

let classifier = null; // until the model is there, one can draw already
let pen = null; // the pointer that is drawing: its id, and where it was last
let timer = null;

/** 28 * 28 grey pixels, white on black -> `{ probabilities, milliseconds }`. */
export function classify(pixels) {
  return classifier.classify(pixels);
}

/** Predicts what is on the board now and shows it. */
export async function predict() {
  clearTimeout(timer);
  timer = null;
  const pixels = likeMnist(inkOnBoard(), board.width, board.height);
  showPixels(pixels ?? new Uint8ClampedArray(SIDE * SIDE));
  if (!classifier) return;
  if (pixels) showPrediction(await classify(pixels));
  else showNothing();
}

function clear() {
  ink.clearRect(0, 0, board.width, board.height);
  predict();
}

function inkOnBoard() {
  const rgba = ink.getImageData(0, 0, board.width, board.height).data;
  const opacity = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < opacity.length; i++) opacity[i] = rgba[4 * i + 3];
  return opacity;
}

function showPixels(pixels) {
  const image = new ImageData(SIDE, SIDE);
  pixels.forEach((grey, i) => image.data.set([grey, grey, grey, 255], 4 * i));
  element("seen").getContext("2d").putImageData(image, 0, 0);
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

function addBars(labels) {
  for (const label of labels) {
    const row = element("bar").content.cloneNode(true);
    row.querySelector(".label").textContent = label;
    element("classes").append(row);
  }
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

const model = new URLSearchParams(location.search).get("model") ?? "model.tflite";
try {
  const { loadClassifier } = await import("./classifier.js");
  classifier = await loadClassifier(new URL(model, location.href));
  addBars(classifier.labels);
  await predict();
} catch (error) {
  console.error(error);
  element("error").textContent =
    `Cannot use ${model}: ${error.message.replace(/\.$/, "")}. ` +
    "The page takes .tflite files of 28x28 images with uint8 or float32 input, and needs LiteRT.js: see README.md.";
  element("error").hidden = false;
  element("answer").hidden = true;
}
