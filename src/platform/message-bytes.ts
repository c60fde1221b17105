import { FormatError } from '../tensor/errors.ts';

/** Arrays of numbers that a message may hold, by the name of their kind. */
const KINDS = { Uint8Array, Int32Array, Float32Array, Float64Array } as const;

/** One of those arrays. */
type Numbers = InstanceType<(typeof KINDS)[keyof typeof KINDS]>;

/** In JSON, what stands for numbers that lie behind it, or for one that JSON has not. */
interface Stand {
  readonly $numbers?: readonly [kind: keyof typeof KINDS, offset: number, length: number];
  readonly $number?: string;
}

const HEADER_BYTES = 4;

/** Every array begins at a multiple of this, so that a receiver can look at it where it lies. */
const ALIGNMENT = 8;

const padded = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/**
 * A message as bytes, where structured clone does not go: u32 LE length of a JSON text, the text, and
 * at multiples of 8 the numbers of arrays in it. Plain objects, arrays, strings, numbers (also NaN and
 * infinities), booleans, null, and arrays of u8, i32, f32 and f64; what is undefined is left out.
 * @throws FormatError for an array of another kind
 */
export function messageToBytes(message: unknown): Uint8Array<ArrayBuffer> {
  const arrays: { readonly at: number; readonly numbers: Numbers }[] = [];
  let end = 0;
  const text = JSON.stringify(
    message,
    function (this: Record<string, unknown>, key, json: unknown) {
      // Node's Buffer, a Uint8Array by another name, would come as the JSON that it makes of itself.
      const value = this[key];
      if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) };
      if (!ArrayBuffer.isView(value)) return json;
      const kind = value instanceof Uint8Array ? 'Uint8Array' : value.constructor.name;
      if (!(kind in KINDS)) throw new FormatError(`message: an array of kind ${kind}`);
      const numbers = value as Numbers;
      const at = end;
      arrays.push({ at, numbers });
      end = padded(end + numbers.byteLength);
      return { $numbers: [kind, at, numbers.length] };
    },
  );
  const json = new TextEncoder().encode(text);
  const start = padded(HEADER_BYTES + json.length);
  const out = new Uint8Array(start + end);
  new DataView(out.buffer).setUint32(0, json.length, true);
  out.set(json, HEADER_BYTES);
  for (const { at, numbers } of arrays) {
    out.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), start + at);
  }
  return out;
}

/**
 * The message in such bytes; its arrays are views of them.
 * @throws FormatError for bytes that are none
 */
export function messageFromBytes(bytes: ArrayBuffer): unknown {
  const length = bytes.byteLength < HEADER_BYTES ? -1 : new DataView(bytes).getUint32(0, true);
  if (length < 0 || HEADER_BYTES + length > bytes.byteLength) {
    throw new FormatError(`message: ${bytes.byteLength} bytes are cut short`);
  }
  const start = padded(HEADER_BYTES + length);
  const text = new TextDecoder().decode(new Uint8Array(bytes, HEADER_BYTES, length));
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    const { $numbers, $number } = value as Stand;
    if ($number !== undefined) return Number($number);
    if (!$numbers) return value;
    const [kind, at, count] = $numbers;
    const Kind = KINDS[kind];
    if (!Kind || start + at + count * Kind.BYTES_PER_ELEMENT > bytes.byteLength) {
      throw new FormatError(`message: ${count} numbers at ${at} are not there`);
    }
    return new Kind(bytes, start + at, count);
  });
}
