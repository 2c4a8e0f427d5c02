// A .tflite classifier of 28x28 images, run by LiteRT.js on the CPU (WebAssembly).

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { SIDE } from "./preprocess.js";

const RUNTIME = new URL("node_modules/@litertjs/core/wasm/", import.meta.url);
const ARRAYS = { uint8: Uint8Array, float32: Float32Array };
const SOFTMAX_STEPS = 256; // a quantised softmax counts in 1/256, from 0, in every TFLite file

/**
 * Loads a model and the names of its classes: one a line in `labels.txt` beside it, else 0, 1, 2 ...
 *
 * @param {URL} url a .tflite file of uint8 or float32 input, 28x28 pixels, 1 or 3 channels, that takes pixels 0..255.
 * @returns {Promise<{labels: string[], leastConfidence: number, classify: (pixels: Uint8Array) => Promise<object>}>} `classify` takes
 *   28 * 28 grey pixels, white on black, and gives `{ probabilities, milliseconds }`.
 * @throws {Error} with a reason to show, where a file cannot be loaded or is no such model.
 */
export async function loadClassifier(url) {
  const [file, names] = await Promise.all([download(url), download(new URL("labels.txt", url)), startRuntime()]);
  if (!file) throw new Error("there is no such file");
  const model = await loadAndCompile(new Uint8Array(file), { accelerator: "wasm" });
  const [input] = model.getInputDetails();
  const [output] = model.getOutputDetails();

  const [, height, width, channels] = input.shape;
  if (height !== SIDE || width !== SIDE || ![1, 3].includes(channels)) {
    throw new Error(`its input is ${input.shape.join("x")}`);
  }
  const classes = output.shape.at(-1);
  const labels = names ? new TextDecoder().decode(names).trim().split(/\r?\n/) : [...Array(classes).keys()].map(String);
  if (labels.length !== classes) {
    throw new Error(`labels.txt has ${labels.length} lines, it has ${classes} classes`);
  }
  const leastConfidence = leastConfidenceOf(file);

  async function classify(pixels) {
    const values = new ARRAYS[input.dtype](pixels.length * channels);
    pixels.forEach((grey, i) => values.fill(grey, i * channels, (i + 1) * channels));
    const tensor = new Tensor(values, [...input.shape]);
    const start = performance.now();
    const [result] = await model.run([tensor]);
    const milliseconds = performance.now() - start;
    const one = output.dtype === "uint8" ? SOFTMAX_STEPS : 1;
    const probabilities = Array.from(await result.data(), (value) => value / one);
    tensor.delete();
    result.delete();
    return { probabilities, milliseconds };
  }

  await classify(new Uint8Array(SIDE * SIDE)); // the first run is slower than all others: the user shall not see it
  return { labels, leastConfidence, classify };
}

/** The confidence below which an answer is withheld; 0 where the file (an `ArrayBuffer`) says nothing of it. */
function leastConfidenceOf(file) {
  const text = new TextDecoder("latin1").decode(file);
  const found = text.includes("odn_keras.reject") && text.match(/"least_confidence": ([0-9.e-]+)/);
  return found ? Number(found[1]) : 0;
}

function startRuntime() {
  return loadLiteRt(RUNTIME.href).catch((error) => {
    throw error instanceof Error ? error : new Error(`${RUNTIME} did not load`); // a script that is missing is an Event
  });
}

async function download(url) {
  const response = await fetch(url, { cache: "no-cache" }); // a file that was replaced is seen at the next reload
  return response.ok ? response.arrayBuffer() : null;
}
