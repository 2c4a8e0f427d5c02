// What an exported .tflite file says of itself besides the network: the names of its classes, in a zip behind the model,
// and how images are resized to its shape, in its metadata.

const END_OF_ZIP = 0x06054b50;
const END_BYTES = 22;
const STORED = 0;
const METADATA = 6; // the field of the model's table, in TFLite's schema
const BUFFERS = 4;

/**
 * The names of the classes on board.
 *
 * @param {Uint8Array} file
 * @returns {string[] | null} null where there are none.
 */
export function labelsIn(file) {
  const view = viewOf(file);
  let end = file.length - END_BYTES;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_ZIP) end--;
  if (end < 0) return null;
  let entry = view.getUint32(end + 16, true); // all offsets are those in the file, which begins with the model
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const method = view.getUint16(entry + 10, true);
    const size = view.getUint32(entry + 20, true);
    const lengths = [28, 30, 32].map((at) => view.getUint16(entry + at, true)); // of name, extra and comment
    const name = textOf(file.subarray(entry + 46, entry + 46 + lengths[0]));
    if (name === "labels.txt" && method === STORED) {
      const local = view.getUint32(entry + 42, true);
      const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      return linesOf(file.subarray(begin, begin + size));
    }
    entry += 46 + lengths[0] + lengths[1] + lengths[2];
  }
  return null;
}

/** The lines of a labels.txt. */
export function linesOf(bytes) {
  return textOf(bytes)
    .replace(/[\r\n]+$/, "")
    .split(/\r?\n/);
}

/**
 * How training resized images of other shapes: "stretch", "crop" or "pad".
 *
 * @param {Uint8Array} file
 */
export function resizeIn(file) {
  const view = viewOf(file);
  const model = view.getUint32(0, true);
  for (const entry of tablesIn(view, fieldOf(view, model, METADATA))) {
    const name = fieldOf(view, entry, 0);
    if (!name || textOf(bytesAt(file, view, name)) !== "odn_keras.resize") continue;
    const number = fieldOf(view, entry, 1);
    const buffer = tablesIn(view, fieldOf(view, model, BUFFERS))[number ? view.getUint32(number, true) : 0];
    return textOf(bytesAt(file, view, fieldOf(view, buffer, 0)));
  }
  return "stretch";
}

/** Where a field of a flatbuffer's table is; 0 where it is left out. */
function fieldOf(view, table, field) {
  const list = table - view.getInt32(table, true);
  const at = 4 + 2 * field;
  const offset = at < view.getUint16(list, true) ? view.getUint16(list + at, true) : 0;
  return offset && table + offset;
}

/** Where the tables of a vector are. */
function tablesIn(view, field) {
  if (!field) return [];
  const vector = field + view.getUint32(field, true);
  return Array.from({ length: view.getUint32(vector, true) }, (_, i) => {
    const at = vector + 4 + 4 * i;
    return at + view.getUint32(at, true);
  });
}

/** A vector of bytes, or a string. */
function bytesAt(file, view, field) {
  const vector = field + view.getUint32(field, true);
  return file.subarray(vector + 4, vector + 4 + view.getUint32(vector, true));
}

function viewOf(file) {
  return new DataView(file.buffer, file.byteOffset, file.byteLength);
}

function textOf(bytes) {
  return new TextDecoder().decode(bytes);
}
