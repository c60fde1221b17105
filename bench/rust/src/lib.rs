//! Rows in 8 bits times a packed matrix in 8 bits to f32: `gemmQd8F32Qc8w` of `src/quant`, written again
//! from its contract (`src/quant/kernels/table.ts`) in another language for another compiler. Both have
//! to give the same bits, and whoever is faster shows what the other one leaves.
//!
//! Built twice: with SIMD128 alone, and with relaxed SIMD.

use core::arch::wasm32::*;
use core::hint::black_box;
use std::alloc::{alloc_zeroed, dealloc, Layout};
use wasm_bindgen::prelude::wasm_bindgen;

/// Columns of a panel, and rows that share a vector of weights.
const PANEL: usize = 8;
const ROWS: usize = 4;
/// Rows whose activations are spread at a time: they stay in the second cache while all panels pass.
const ROW_BLOCK: usize = 16;
/// Inputs that one entry of the row sums covers.
const BLOCK: usize = 32;
/// What was added to every weight.
const ZERO_POINT: i32 = 64;

/// Vectors that hold four inputs of one row, repeated: one of bytes, or even and odd ones in 16 bits.
const QUAD: usize = if cfg!(target_feature = "relaxed-simd") {
    1
} else {
    2
};

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(16), 16).expect("a size that fits memory")
}

/// Zeroed bytes, aligned for vectors.
#[wasm_bindgen]
pub fn allocate(bytes: usize) -> usize {
    unsafe { alloc_zeroed(layout(bytes)) as usize }
}

/// Gives back what `allocate` gave for as many bytes.
#[wasm_bindgen]
pub fn release(address: usize, bytes: usize) {
    unsafe { dealloc(address as *mut u8, layout(bytes)) }
}

/// What the instructions are that this module was built with.
#[wasm_bindgen]
pub fn variant() -> String {
    String::from(if QUAD == 1 { "relaxed" } else { "simd128" })
}

/// Repeats quads of rows into records of `width` rows.
unsafe fn spread(to: *mut v128, rows: *const i8, count: usize, width: usize, kp: usize) {
    for row in 0..count {
        let mut at = to.add(row * QUAD);
        for i in (0..kp).step_by(4) {
            let quad = v128_load32_splat(rows.add(row * kp + i) as *const u32);
            if QUAD == 1 {
                at.write(quad);
            } else {
                at.write(i16x8_shr(i16x8_shl(quad, 8), 8));
                at.add(1).write(i16x8_shr(quad, 8));
            }
            at = at.add(width * QUAD);
        }
    }
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn dot<const WIDE: bool>(x: *const v128, w: v128, constant: v128, sum: v128) -> v128 {
    if WIDE {
        i32x4_relaxed_dot_i8x16_i7x16_add(*x, w, sum)
    } else {
        let pairs = i16x8_relaxed_dot_i8x16_i7x16(*x, w);
        i32x4_add(sum, i32x4_dot_i16x8(pairs, constant))
    }
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
unsafe fn dot<const WIDE: bool>(x: *const v128, w: v128, constant: v128, sum: v128) -> v128 {
    let even = i32x4_dot_i16x8(*x, v128_and(w, constant));
    let odd = i32x4_dot_i16x8(*x.add(1), u16x8_shr(w, 8));
    i32x4_add(i32x4_add(sum, even), odd)
}

/// Sums of `R` rows by eight columns.
#[inline(always)]
unsafe fn tile<const WIDE: bool, const R: usize>(
    x: *const v128,
    w: *const v128,
    kp: usize,
) -> [[v128; 2]; R] {
    let mut sums = [[i32x4_splat(0); 2]; R];
    // Hidden from the compiler: V8 builds a constant anew wherever it stands.
    let constant = black_box(i16x8_splat(if QUAD == 1 { 1 } else { 255 }));
    for quad in 0..kp / 4 {
        let (left, right) = (*w.add(2 * quad), *w.add(2 * quad + 1));
        let record = x.add(quad * R * QUAD);
        for (row, sum) in sums.iter_mut().enumerate() {
            let a = record.add(row * QUAD);
            sum[0] = dot::<WIDE>(a, left, constant, sum[0]);
            sum[1] = dot::<WIDE>(a, right, constant, sum[1]);
        }
    }
    sums
}

/// Rows of a tile that has to hold so many: one alone is not worth four.
fn width(count: usize) -> usize {
    if count == 1 {
        1
    } else {
        ROWS
    }
}

/// (sum - 64 row sum) * weight scale * activation scale, in this order.
#[inline(always)]
unsafe fn scaled(sum: v128, row_sum: i32, weight: *const v128, activation: f32) -> v128 {
    let whole = i32x4_sub(sum, i32x4_splat(ZERO_POINT * row_sum));
    let value = f32x4_mul(f32x4_convert_i32x4(whole), *weight);
    f32x4_mul(value, f32x4_splat(activation))
}

#[allow(clippy::too_many_arguments)]
unsafe fn product<const WIDE: bool>(
    out: *mut f32,
    data: *const i8,
    act_scales: *const f32,
    sums: *const i32,
    packed: *const u8,
    scales: *const f32,
    m: usize,
    n: usize,
    kp: usize,
) {
    let tile_vectors = kp / 4 * ROWS * QUAD;
    let bytes = tile_vectors * ROW_BLOCK / ROWS * 16;
    let spread_rows = alloc_zeroed(layout(bytes)) as *mut v128;
    for first in (0..m).step_by(ROW_BLOCK) {
        let rows = ROW_BLOCK.min(m - first);
        for r in (0..rows).step_by(ROWS) {
            let to = spread_rows.add(r / ROWS * tile_vectors);
            let count = ROWS.min(rows - r);
            spread(to, data.add((first + r) * kp), count, width(count), kp);
        }
        for j in (0..n).step_by(PANEL) {
            let weights = packed.add(j * kp) as *const v128;
            for r in (0..rows).step_by(ROWS) {
                let x = spread_rows.add(r / ROWS * tile_vectors);
                let count = ROWS.min(rows - r);
                let mut result = [[i32x4_splat(0); 2]; ROWS];
                if width(count) == 1 {
                    result[..1].copy_from_slice(&tile::<WIDE, 1>(x, weights, kp));
                } else {
                    result = tile::<WIDE, ROWS>(x, weights, kp);
                }
                for (i, sum) in result.iter().enumerate().take(count) {
                    let row = first + r + i;
                    let blocks = kp / BLOCK;
                    let row_sum = (0..blocks).map(|b| *sums.add(row * blocks + b)).sum();
                    let scale = scales.add(j) as *const v128;
                    let activation = *act_scales.add(row);
                    let values: [f32; PANEL] = core::mem::transmute([
                        scaled(sum[0], row_sum, scale, activation),
                        scaled(sum[1], row_sum, scale.add(1), activation),
                    ]);
                    let columns = PANEL.min(n - j);
                    core::ptr::copy_nonoverlapping(values.as_ptr(), out.add(row * n + j), columns);
                }
            }
        }
    }
    dealloc(spread_rows as *mut u8, layout(bytes));
}

/// `wide`: the 32-bit relaxed dot, which is one instruction with VNNI; else the 16-bit one. Ignored
/// without relaxed SIMD. Addresses are those of `allocate`.
#[wasm_bindgen]
#[allow(clippy::too_many_arguments)]
pub fn gemm(
    out: usize,
    data: usize,
    act_scales: usize,
    sums: usize,
    packed: usize,
    scales: usize,
    m: usize,
    n: usize,
    kp: usize,
    wide: bool,
) {
    let run = if wide {
        product::<true>
    } else {
        product::<false>
    };
    unsafe {
        run(
            out as *mut f32,
            data as *const i8,
            act_scales as *const f32,
            sums as *const i32,
            packed as *const u8,
            scales as *const f32,
            m,
            n,
            kp,
        )
    }
}
