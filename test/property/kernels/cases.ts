import type { Kernels } from '../../../src/tensor/backend.ts';
import type { KernelCase } from './case.ts';
import { attentionCases } from './cases-attention.ts';
import { codeCases } from './cases-codes.ts';
import { elementwiseCases } from './cases-elementwise.ts';
import { layoutCases } from './cases-layout.ts';
import { matmulCases } from './cases-matmul.ts';
import { normCases } from './cases-norm.ts';
import { optimizerCases } from './cases-optimizer.ts';
import { reduceCases } from './cases-reduce.ts';

/** How every kernel of the table is called to compare a backend with cpu. */
export const cases: Record<keyof Kernels, KernelCase> = {
  ...elementwiseCases,
  ...layoutCases,
  ...codeCases,
  ...reduceCases,
  ...matmulCases,
  ...normCases,
  ...attentionCases,
  ...optimizerCases,
};
