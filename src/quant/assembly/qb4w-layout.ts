// How the scales of a panel of 4-bit weights lie, in bytes from the panel's; the twin of this, and why it
// is so, is quant/qb4w-scales.ts. kp inputs, `group` of them with one scale.

function superBlocks(kp: i32): usize {
  return <usize>((kp + 127) >> 7);
}

/** Where the groups' scales begin: a bfloat16 a super-block and column before them. */
export function qb4wScalesAt(kp: i32): usize {
  return superBlocks(kp) << 4;
}

/** Where the groups' minima begin. */
export function qb4wMinsAt(kp: i32, group: i32): usize {
  return qb4wScalesAt(kp) + (<usize>((kp + group - 1) / group) << 3);
}

/** Bytes of a panel's scales: two pairs of minima a super-block for groups of 32, one for larger ones. */
export function qb4wPanelBytes(kp: i32, group: i32): usize {
  return qb4wMinsAt(kp, group) + (superBlocks(kp) << (group == 32 ? 6 : 5));
}
