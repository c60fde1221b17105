// The activation codec: the device encodes in a kernel, the twin and whoever decodes in plain JavaScript.
import {
  ACTIVATION_BITS,
  ACTIVATION_GROUP_SIZE,
  decodeActivations,
  encodeActivations,
  encodedLength,
  encodeRows,
} from '../src/quant/index.ts';
import { scope, tensor, wasmBackend } from '../src/tensor/index.ts';
import type { BenchCase } from './harness.ts';
import { valuesOf } from './values.ts';

/** Rows of a batch and the width of SmolLM2-135M's residual stream. */
const [ROWS, WIDTH] = [128, 576];

/** Largest error a code may have, in units of its group's largest value: half a step, and f16's rounding. */
const HALF_STEP: Readonly<Record<number, number>> = {
  3: 0.5 / 3,
  4: 0.5 / 7,
  8: 0.5 / 127,
  16: 2 ** -11,
};

/** Decoded values against the originals, by the bounds that docs/protocol.md gives. */
function verify(name: string, x: Float32Array, got: Float32Array, bits: number): void {
  for (let row = 0; row < ROWS; row++) {
    for (let start = 0; start < WIDTH; start += ACTIVATION_GROUP_SIZE) {
      const end = Math.min(start + ACTIVATION_GROUP_SIZE, WIDTH);
      const from = row * WIDTH;
      const group = x.subarray(from + start, from + end);
      const decoded = got.subarray(from + start, from + end);
      const largest = group.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const bound = HALF_STEP[bits];
      if (bound !== undefined) {
        const allowed = largest * bound * (1 + 2 ** -9);
        const bad = group.findIndex((value, i) => !(Math.abs(value - decoded[i]) <= allowed));
        if (bad >= 0) throw new Error(`${name}: ${group[bad]} became ${decoded[bad]}`);
      } else {
        // 1 and 2 bits have no bound a value; a group comes nearer than zeros would.
        const squares = (values: Iterable<number>) =>
          [...values].reduce((sum, value) => sum + value * value, 0);
        const error = squares(group.map((value, i) => value - decoded[i]));
        if (!(error < squares(group))) throw new Error(`${name}: no better than zeros`);
      }
    }
  }
}

/** Both ways, in every width; bytes are those of f32 and of codes together. */
export function* cases(): Generator<BenchCase> {
  const x = valuesOf(ROWS * WIDTH, 1);
  const out = new Float32Array(ROWS * WIDTH);
  const backend = wasmBackend();
  for (const bits of ACTIVATION_BITS) {
    const bytes = x.byteLength + encodedLength(ROWS, WIDTH, bits);
    const shape = `${bits}-bit/${ROWS}x${WIDTH}`;
    const common = { variant: 'JavaScript', ops: 0, bytes, arithmetic: null } as const;
    const prepared = (name: string, run: (codes: Uint8Array) => number) => () => {
      const codes = encodeActivations(x, ROWS, WIDTH, bits);
      verify(name, x, decodeActivations(codes, ROWS, WIDTH, bits), bits);
      return { run: () => run(codes), dispose: () => {} };
    };
    const encode = `codec/encode/${shape}`;
    yield {
      ...common,
      name: encode,
      prepare: prepared(encode, () => encodeActivations(x, ROWS, WIDTH, bits)[0]),
    };
    const kernel = `codec/encode-rows/${shape}`;
    yield {
      ...common,
      variant: backend.variant,
      name: kernel,
      prepare() {
        // The rows are copied into the backend's memory at every run, as a device's are.
        const encode = () => scope(() => encodeRows(tensor(x, [ROWS, WIDTH], { backend }), bits));
        verify(kernel, x, decodeActivations(encode(), ROWS, WIDTH, bits), bits);
        return { run: () => encode()[0], dispose: () => {} };
      },
    };
    const decode = `codec/decode/${shape}`;
    yield {
      ...common,
      name: decode,
      prepare: prepared(decode, (codes) => decodeActivations(codes, ROWS, WIDTH, bits, out)[0]),
    };
  }
}
