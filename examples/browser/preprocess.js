// MNIST's own preparation: the ink's bounding box is scaled to fit 20x20, keeping its shape, and its centre of mass
// goes to the middle of 28x28.

export const SIDE = 28;
const BOX = 20;
const CENTRE = SIDE / 2 + 0.5; // the middle of pixel 14: there MNIST's images have theirs, to the nearest whole pixel

/**
 * Makes an image such as MNIST's of a drawing of any size.
 *
 * @param {ArrayLike<number>} ink width * height numbers, row by row: 0 is bare paper, 255 is full ink.
 * @param {number} width
 * @param {number} height
 * @returns {Uint8ClampedArray | null} 28 * 28 pixels, white (255) on black (0); null where there is no ink.
 */
export function likeMnist(ink, width, height) {
  const columns = new Float64Array(width);
  const rows = new Float64Array(height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      columns[x] += ink[y * width + x];
      rows[y] += ink[y * width + x];
    }
  }
  const across = extent(columns);
  const down = extent(rows);
  if (across.length === 0) return null;

  const scale = BOX / Math.max(across.length, down.length);
  const horizontal = overlaps(across, scale);
  const vertical = overlaps(down, scale);
  const image = new Uint8ClampedArray(SIDE * SIDE);
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      let sum = 0;
      for (const [y, share] of vertical[row]) {
        for (const [x, part] of horizontal[column]) sum += share * part * ink[y * width + x];
      }
      image[row * SIDE + column] = sum;
    }
  }
  return image;
}

/** Where the ink lies along one axis: its first line, its length (0 without ink) and its centre of mass. */
function extent(sums) {
  const start = sums.findIndex((sum) => sum > 0);
  const end = sums.findLastIndex((sum) => sum > 0) + 1;
  let mass = 0;
  let moment = 0;
  for (let i = Math.max(start, 0); i < end; i++) {
    mass += sums[i];
    moment += sums[i] * (i + 0.5);
  }
  return { start, length: start < 0 ? 0 : end - start, centre: moment / mass };
}

/** For each of the 28 pixels along one axis, the lines of ink it covers and what share of it each of them fills. */
function overlaps({ start, length, centre }, scale) {
  const first = Math.round(CENTRE - (centre - start) * scale);
  return Array.from({ length: SIDE }, (_, pixel) => {
    const from = start + (pixel - first) / scale;
    const to = from + 1 / scale;
    const covered = [];
    for (let i = Math.max(start, Math.floor(from)); i < Math.min(start + length, to); i++) {
      covered.push([i, (Math.min(i + 1, to) - Math.max(i, from)) * scale]);
    }
    return covered;
  });
}
