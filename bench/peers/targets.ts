// What the project is to reach beside its peers, one thread, relaxed SIMD unless said.

/** Least ratio and the ratio aimed at: how many times as fast we are to be. */
export interface Target {
  readonly least: number;
  readonly aim?: number;
}

/** Of products at K = N = 2048 over onnxruntime-web's fastest operator of a format. */
export const GEMM_TARGETS: Readonly<Record<string, Target>> = {
  'f32/128/relaxed': { least: 1.3, aim: 1.8 },
  'int8/128/relaxed': { least: 2.2 },
  'int8/128/simd128': { least: 1, aim: 1.2 },
  'int8/1/relaxed': { least: 4 },
  'int4/128/relaxed': { least: 4, aim: 6 },
  'int4/1/relaxed': { least: 20 },
};

/** `at least 2.2: met`, or what is missing; empty where there is no target. */
export function verdict(ratio: number, target: Target | undefined): string {
  if (!target) return '';
  const { least, aim } = target;
  const wanted = aim === undefined ? `${least}x` : `${least}x, aim ${aim}x`;
  const word = ratio >= (aim ?? least) ? 'reached' : ratio >= least ? 'met' : 'missed';
  return `${wanted}: ${word}`;
}
