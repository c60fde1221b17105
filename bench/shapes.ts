import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A matmul [M,K] x [K,N] of a model. */
export interface MatmulShape {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

/** Models whose shapes run by default, and those that take `--all` or a filter. */
export const DEFAULT_SHAPES = ['square', 'smollm2-135m'] as const;
export const MORE_SHAPES = ['opt-1.3b', 'llama-3.2-1b', 'bert-base'] as const;

/** A shape of a model, and whether it belongs to those that run by default: one token, and 128. */
export interface BenchShape extends MatmulShape {
  /** `q` of SmolLM2, `opt-1.3b.q` of another model. */
  readonly label: string;
  readonly heavy: boolean;
}

/** All shapes of all files. */
export function benchShapes(): BenchShape[] {
  const of = (model: string, byDefault: boolean) =>
    readShapes(model).map((shape) => ({
      ...shape,
      label: byDefault ? shape.name : `${model}.${shape.name}`,
      heavy: !byDefault || ![1, 128].includes(shape.m),
    }));
  return [
    ...DEFAULT_SHAPES.flatMap((model) => of(model, true)),
    ...MORE_SHAPES.flatMap((model) => of(model, false)),
  ];
}

/** The shapes of `shapes/<model>.txt`: lines of `name K N M,...`, `#` starts a comment. */
export function readShapes(model: string): MatmulShape[] {
  const path = join(import.meta.dirname, 'shapes', `${model}.txt`);
  const shapes: MatmulShape[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const [name, k, n, rows] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (!name) continue;
    for (const m of rows.split(','))
      shapes.push({ name, m: Number(m), k: Number(k), n: Number(n) });
  }
  return shapes;
}
