import { FormatError, ShapeError } from '../tensor/errors.ts';
import { formatShape } from '../tensor/shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor/tensor.ts';
import { ACTIVATION_GROUP_SIZE, type ActivationBits, encodedLength } from './codec.ts';
import { quantOf } from './runtime.ts';

/**
 * The wire's bytes of rows x [R,D], as `encodeActivations` makes them, on the backend that holds the
 * rows. With `mean` and `scale` [K,D] it encodes (x - mean) / scale, row r with those of r mod K.
 * Overwrites x.
 * @throws ShapeError where shapes do not fit; DTypeError unless f32; FormatError `E_NON_FINITE` for NaN or infinity
 */
export function encodeRows(
  x: Tensor,
  bits: ActivationBits,
  affine?: { readonly mean: Tensor; readonly scale: Tensor },
): Uint8Array {
  expectDType('encodeRows', 'f32', x);
  if (x.rank !== 2) throw new ShapeError(`encodeRows: takes [R,D], got ${formatShape(x.shape)}`);
  const [rows, width] = x.shape;
  const bytes = encodedLength(rows, width, bits);
  const kinds = affine ? affine.mean.numel / width : 1;
  const backend = commonBackend('encodeRows', x, ...(affine ? [affine.mean, affine.scale] : []));
  if (affine) {
    expectDType('encodeRows', 'f32', affine.mean);
    expectDType('encodeRows', 'f32', affine.scale);
    const fits = affine.scale.numel === affine.mean.numel && Number.isInteger(kinds) && kinds > 0;
    if (!fits || rows % kinds !== 0) {
      throw new ShapeError(
        `encodeRows: rows ${formatShape(x.shape)}, mean ${formatShape(affine.mean.shape)}, scale ${formatShape(affine.scale.shape)}`,
      );
    }
  }
  if (rows === 0) return new Uint8Array(0);
  const out = Tensor.empty([bytes], 'u8', backend);
  try {
    const { mean, scale } = affine ?? {};
    const { kernels } = quantOf(backend);
    const nil = backend.nil;
    kernels.encodeRows(
      out.handle,
      x.handle,
      mean?.handle ?? nil,
      scale?.handle ?? nil,
      ...([rows, width, kinds, bits] as const),
    );
    const encoded = backend.read(out.handle, 'u8', bytes) as Uint8Array;
    expectFinite(encoded, rows, width, bits);
    return encoded;
  } finally {
    out.dispose();
  }
}

/** @throws FormatError (E_NON_FINITE) where a group's scale, or at 16 bits a value, is infinite */
function expectFinite(
  encoded: Uint8Array,
  rows: number,
  width: number,
  bits: ActivationBits,
): void {
  const rowBytes = encoded.length / rows;
  const span = bits === 16 ? 1 : ACTIVATION_GROUP_SIZE;
  const halves = Math.ceil(width / span);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < halves; i++) {
      if ((encoded[row * rowBytes + 2 * i + 1] & 0x7c) !== 0x7c) continue;
      const last = Math.min(width, (i + 1) * span) - 1;
      const columns = span === 1 ? `column ${i}` : `columns ${i * span} to ${last}`;
      throw new FormatError(
        `encodeRows: row ${row}, ${columns}: not a finite number`,
        'E_NON_FINITE',
      );
    }
  }
}
