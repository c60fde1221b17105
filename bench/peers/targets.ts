// What the project is to reach beside its peers, one thread, relaxed SIMD unless said.

/** How many times as fast we are to be: at least (0: only aimed at), and at best. */
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

/** Of SmolLM2-135M over an engine at its fastest type. */
export const MODEL_TARGETS: Readonly<Record<string, Target>> = {
  'llama.cpp AVX2/pp128': { least: 1.5 },
  'llama.cpp AVX512-VNNI/pp128': { least: 0, aim: 1 },
  'llama.cpp AMX/pp128': { least: 0, aim: 0.7 },
  'wllama/pp128': { least: 12 },
  'llama.cpp AVX2/tg64': { least: 1, aim: 2 },
  'wllama/tg64': { least: 3 },
};

/** Of two threads: over one of ours. */
export const TWO_THREAD_TARGETS: Readonly<Record<string, Target>> = {
  'one thread of mobillm int8/pp512': { least: 1.7, aim: 1.9 },
};

/** `2.2x, aim 3x: met`; empty where there is no target. */
export function verdict(ratio: number, target: Target | undefined): string {
  if (!target) return '';
  const { least, aim } = target;
  const wanted = [...(least ? [`${least}x`] : []), ...(aim ? [`aim ${aim}x`] : [])].join(', ');
  if (ratio >= (aim ?? least)) return `${wanted}: reached`;
  if (ratio < least) return `${wanted}: missed`;
  return least ? `${wanted}: met` : `${wanted}: not reached`;
}

/** Of a side network's train step over another engine's. */
export const SERVER_TARGETS: Readonly<Record<string, Target>> = {
  tfjs: { least: 1.5 },
  PyTorch: { least: 0.3 },
  // The first engine is then gpu.js's plan of several steps.
  mobillm: { least: 3 },
};
