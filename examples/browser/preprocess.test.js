import assert from "node:assert/strict";
import test from "node:test";

import { likeMnist, SIDE } from "./preprocess.js";

/** A drawing of 100x100 with an L in it, its strokes `size / 4` wide. */
function drawingOfL(left, top, size) {
  const ink = new Uint8Array(100 * 100);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size / 2; x++) {
      if (x < size / 4 || y >= (3 * size) / 4) ink[(top + y) * 100 + left + x] = 255;
    }
  }
  return ink;
}

function inked(image) {
  const pixels = [...image.keys()].filter((i) => image[i] > 0);
  const rows = pixels.map((i) => Math.floor(i / SIDE));
  const columns = pixels.map((i) => i % SIDE);
  return { height: Math.max(...rows) - Math.min(...rows) + 1, width: Math.max(...columns) - Math.min(...columns) + 1 };
}

function centreOfMass(image) {
  let [mass, x, y] = [0, 0, 0];
  image.forEach((grey, i) => {
    mass += grey;
    x += grey * (i % SIDE);
    y += grey * Math.floor(i / SIDE);
  });
  return { x: x / mass, y: y / mass };
}

test("no ink, no image", () => {
  assert.equal(likeMnist(new Uint8Array(100 * 100), 100, 100), null);
});

test("the longer side becomes 20 pixels, the shape is kept", () => {
  for (const size of [4, 8, 20, 40, 100]) {
    assert.deepEqual(inked(likeMnist(drawingOfL(0, 0, size), 100, 100)), { height: 20, width: 10 });
  }
});

test("the centre of mass is at pixel 14, to half a pixel", () => {
  const { x, y } = centreOfMass(likeMnist(drawingOfL(3, 17, 60), 100, 100));
  assert.ok(Math.abs(x - 14) <= 0.5 && Math.abs(y - 14) <= 0.5, `${x}, ${y}`);
});

test("place and size do not matter", () => {
  const image = likeMnist(drawingOfL(0, 0, 80), 100, 100);
  assert.deepEqual(likeMnist(drawingOfL(31, 5, 80), 100, 100), image);
  assert.deepEqual(likeMnist(drawingOfL(60, 60, 40), 100, 100), image);
});

test("full ink is white, half-covered pixels are grey, all else is black", () => {
  const ink = new Uint8Array(100 * 100);
  for (let y = 0; y < 40; y++) ink.fill(255, y * 100, y * 100 + 3); // 1.5 by 20 pixels
  const image = likeMnist(ink, 100, 100);
  const count = (grey) => image.filter((value) => value === grey).length;
  assert.deepEqual([count(255), count(128), count(0)], [20, 20, 28 * 28 - 40]);
});

test("an image such as MNIST's stays as it is", () => {
  const image = new Uint8Array(SIDE * SIDE);
  for (let row = 4; row < 24; row++) {
    for (let column = 9; column < 20; column++) image[row * SIDE + column] = 150 + 3 * row + ((7 * column) % 10);
  }
  const { x, y } = centreOfMass(image);
  assert.ok(Math.abs(x - 14) < 0.5 && Math.abs(y - 14) < 0.5, "the example itself");
  assert.deepEqual([...likeMnist(image, SIDE, SIDE)], [...image]);
});
