// Numbers out of packed codes, one by one: their levels are looked up.

export function dequantizeCodes(
  out: usize, words: usize, levels: usize, groupScales: usize, scale: usize, shift: usize,
  rows: i32, d: i32, bits: i32, group: i32, kinds: i32,
): void {
  const mask = (1 << bits) - 1;
  const channels = <usize>d << 2;
  for (let r = 0; r < rows; r++, out += channels) {
    const from = <usize>(r % kinds) * channels;
    let word: i32 = 0;
    let left: i32 = 0;
    let grouped: i32 = 0;
    let factor: f32 = 0;
    for (let i: usize = 0; i < channels; i += 4) {
      if (grouped == 0) {
        factor = load<f32>(groupScales);
        groupScales += 4;
        grouped = group;
      }
      grouped--;
      let level: f32;
      if (levels) {
        if (left == 0) {
          word = <i32>load<f32>(words);
          words += 4;
          left = 24;
        }
        level = load<f32>(levels + (<usize>(word & mask) << 2));
        word >>>= bits;
        left -= bits;
      } else {
        level = load<f32>(words);
        words += 4;
      }
      const value = level * factor;
      store<f32>(out + i, load<f32>(shift + from + i) + load<f32>(scale + from + i) * value);
    }
  }
}
