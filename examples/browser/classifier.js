// A .tflite image classifier, run by LiteRT.js on the CPU (WebAssembly).

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

import { labelsIn, linesOf, resizeIn } from "./exported.js";

const RUNTIME = new URL("node_modules/@litertjs/core/wasm/", import.meta.url);
const ARRAYS = { uint8: Uint8Array, float32: Float32Array };
const SOFTMAX_STEPS = 256; // a quantised softmax counts in 1/256, from 0, in every TFLite file

/**
 * Downloads a model and, where it has none on board, the names of its classes: one a line in `labels.txt` beside it.
 *
 * @param {URL} url see `openClassifier`.
 * @throws {Error} with a reason to show, where a file cannot be loaded or is no such model.
 */
export async function loadClassifier(url) {
  const [file, names] = await Promise.all([download(url), download(new URL("labels.txt", url))]);
  if (!file) throw new Error("there is no such file");
  return openClassifier(new Uint8Array(file), names && new Uint8Array(names));
}

/**
 * Opens a model.
 *
 * @param {Uint8Array} file a .tflite file of uint8 or float32 input, 1 or 3 channels, that takes pixels 0..255.
 * @param {Uint8Array | null} names the names of its classes, where it has none on board; else they are 0, 1, 2 ...
 * @returns {Promise<{labels: string[], shape: object, resize: string, classify: (pixels: ArrayLike<number>) => Promise<object>}>}
 *   `classify` takes height * width * channels numbers, or the grey ones of height * width, and gives
 *   `{ probabilities, milliseconds }`.
 * @throws {Error} with a reason to show, where it is no such model.
 */
export async function openClassifier(file, names = null) {
  await startRuntime();
  const model = await loadAndCompile(file, { accelerator: "wasm" });
  const [input] = model.getInputDetails();
  const [output] = model.getOutputDetails();

  const [, height, width, channels] = input.shape;
  if (input.shape.length !== 4 || ![1, 3].includes(channels)) throw new Error(`its input is ${input.shape.join("x")}`);
  if (!(input.dtype in ARRAYS)) throw new Error(`its input is of type ${input.dtype}`);
  const classes = output.shape.at(-1);
  const labels = labelsIn(file) ?? (names ? linesOf(names) : [...Array(classes).keys()].map(String));
  if (labels.length !== classes) {
    throw new Error(`labels.txt has ${labels.length} lines, it has ${classes} classes`);
  }
  const leastConfidence = leastConfidenceOf(file);

  async function classify(pixels) {
    const values = new ARRAYS[input.dtype](height * width * channels);
    if (pixels.length === values.length) values.set(pixels);
    else pixels.forEach((grey, i) => values.fill(grey, i * channels, (i + 1) * channels));
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

  await classify(new Uint8Array(height * width)); // the first run is slower than all others: the user shall not see it
  return { labels, leastConfidence, shape: { height, width, channels }, resize: resizeIn(file), classify };
}

/** The confidence below which an answer is withheld; 0 where the file (an `ArrayBuffer`) says nothing of it. */
function leastConfidenceOf(file) {
  const text = new TextDecoder("latin1").decode(file);
  const found = text.includes("odn_keras.reject") && text.match(/"least_confidence": ([0-9.e-]+)/);
  return found ? Number(found[1]) : 0;
}

let runtime = null;

function startRuntime() {
  runtime ??= loadLiteRt(RUNTIME.href).catch((error) => {
    runtime = null;
    throw error instanceof Error ? error : new Error(`${RUNTIME} did not load`); // a script that is missing is an Event
  });
  return runtime;
}

async function download(url) {
  const response = await fetch(url, { cache: "no-cache" }); // a file that was replaced is seen at the next reload
  return response.ok ? response.arrayBuffer() : null;
}
