// What the relaxed variant leans on, tried on the engine at hand before the variant is chosen.
import { madd } from './math';
import { SCRATCH_TILE } from './layout';

/** 1 when multiply-add is right, fused or not, in every lane; operands come from memory so that no compiler can know them. */
export function selfTest(): i32 {
  v128.store(SCRATCH_TILE, f32x4(1.5, -2.0, 1024.0, 3.0));
  v128.store(SCRATCH_TILE, f32x4(4.0, 0.25, -8.0, 1.0 / 3.0), 16);
  v128.store(SCRATCH_TILE, f32x4(-6.0, 7.0, 1.0, -1.0), 32);
  const y = madd(
    v128.load(SCRATCH_TILE),
    v128.load(SCRATCH_TILE, 16),
    v128.load(SCRATCH_TILE, 32),
  );
  // 3 * f32(1/3) - 1 is 0 when rounded twice, 2^-25 when once: both are sane.
  const last = f32x4.extract_lane(y, 3);
  return <i32>(
    f32x4.extract_lane(y, 0) == 0 &&
    f32x4.extract_lane(y, 1) == 6.5 &&
    f32x4.extract_lane(y, 2) == -8191 &&
    last >= 0 && last < 1e-7
  );
}
