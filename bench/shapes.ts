import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A matmul [M,K] x [K,N] of a model. */
export interface MatmulShape {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
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
