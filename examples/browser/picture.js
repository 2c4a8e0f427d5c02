// A photo or a camera's picture -> the pixels that a network takes, resized as training did.

/**
 * Which part of a picture fills which part of a network's image.
 *
 * @param {"stretch" | "crop" | "pad"} resize stretch changes the proportions, crop takes the middle, pad leaves black borders.
 * @param {{width: number, height: number}} from the picture.
 * @param {{width: number, height: number}} to the network's image.
 * @returns {{from: number[], to: number[]}} each as x, y, width, height.
 */
export function placement(resize, from, to) {
  const whole = { from: [0, 0, from.width, from.height], to: [0, 0, to.width, to.height] };
  if (resize === "crop") {
    const scale = Math.max(to.width / from.width, to.height / from.height);
    whole.from = centred(from, to.width / scale, to.height / scale);
  } else if (resize === "pad") {
    const scale = Math.min(to.width / from.width, to.height / from.height);
    const sides = [from.width, from.height].map((side) => Math.max(1, Math.round(side * scale)));
    whole.to = centred(to, ...sides).map(Math.floor);
  }
  return whole;
}

function centred({ width, height }, innerWidth, innerHeight) {
  return [(width - innerWidth) / 2, (height - innerHeight) / 2, innerWidth, innerHeight];
}

/**
 * The numbers of a picture as a network takes them.
 *
 * @param {ArrayLike<number>} rgba four numbers a pixel; it covers black.
 * @param {1 | 3} channels 1: grey, weighted as training did.
 * @returns {Uint8ClampedArray}
 */
export function channelsOf(rgba, channels) {
  const values = new Uint8ClampedArray((rgba.length / 4) * channels);
  for (let i = 0; 4 * i < rgba.length; i++) {
    const [red, green, blue] = [0, 1, 2].map((at) => (rgba[4 * i + at] * rgba[4 * i + 3]) / 255);
    if (channels === 1) values[i] = 0.299 * red + 0.587 * green + 0.114 * blue;
    else values.set([red, green, blue], 3 * i);
  }
  return values;
}

/**
 * The pixels of a picture.
 *
 * @param {CanvasImageSource} source an image, upright, or a video.
 * @param {{width: number, height: number}} size of the source.
 * @param {{width: number, height: number, channels: 1 | 3}} shape of the network's image.
 * @param {"stretch" | "crop" | "pad"} resize
 * @returns {Uint8ClampedArray} height * width * channels numbers.
 */
export function pixelsOf(source, size, shape, resize) {
  const canvas = new OffscreenCanvas(shape.width, shape.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillRect(0, 0, shape.width, shape.height);
  const { from, to } = placement(resize, size, shape);
  context.drawImage(source, ...from, ...to);
  return channelsOf(context.getImageData(0, 0, shape.width, shape.height).data, shape.channels);
}
