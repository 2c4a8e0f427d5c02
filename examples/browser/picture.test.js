import assert from "node:assert/strict";
import test from "node:test";

import { channelsOf, placement } from "./picture.js";

const wide = { width: 80, height: 40 };
const square = { width: 20, height: 20 };

test("stretch takes all of the picture for all of the image", () => {
  assert.deepEqual(placement("stretch", wide, square), { from: [0, 0, 80, 40], to: [0, 0, 20, 20] });
});

test("crop takes the middle", () => {
  assert.deepEqual(placement("crop", wide, square), { from: [20, 0, 40, 40], to: [0, 0, 20, 20] });
});

test("pad leaves borders, and a line of a picture is one pixel at least", () => {
  assert.deepEqual(placement("pad", wide, square), { from: [0, 0, 80, 40], to: [0, 5, 20, 10] });
  assert.deepEqual(placement("pad", { width: 900, height: 1 }, square).to, [0, 9, 20, 1]);
});

test("grey is weighted as training did, and what is transparent is black", () => {
  const rgba = [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 0];
  assert.deepEqual([...channelsOf(rgba, 1)], [76, 150, 29, 0]);
  assert.deepEqual([...channelsOf(rgba, 3)], [255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0]);
});
