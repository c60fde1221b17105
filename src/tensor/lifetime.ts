/** Anything that holds backend memory. */
export interface Disposable {
  dispose(): void;
}

const scopes: Disposable[][] = [];

let holding = false;

/** Notes a new tensor in the innermost scope. Called by Tensor's constructor alone. */
export function registerBirth(born: Disposable): void {
  scopes.at(-1)?.push(born);
}

/**
 * While on, a closing scope hands all it noted to the scope around it: the tape may still need it
 * for the way back. Returns the former setting.
 */
export function holdBirths(on: boolean): boolean {
  const before = holding;
  holding = on;
  return before;
}

/** Opens a scope: what is born from now on is noted in it. */
export function pushScope(): void {
  scopes.push([]);
}

/** Above so many, a set finds one faster than a walk does. */
const FEW = 8;

/** Closes the innermost scope: disposes what it noted, but hands `kept` to the scope around it. */
export function popScope(kept: readonly Disposable[]): void {
  const born = scopes.pop() ?? [];
  const outer = scopes.at(-1);
  const set = kept.length > FEW ? new Set(kept) : undefined;
  for (const one of born) {
    if (holding || (set ? set.has(one) : kept.includes(one))) outer?.push(one);
    else one.dispose();
  }
}

/** Removes tensors from every open scope. */
export function release(kept: ReadonlySet<Disposable>): void {
  for (const born of scopes) {
    let alive = 0;
    for (const one of born) if (!kept.has(one)) born[alive++] = one;
    born.length = alive;
  }
}
