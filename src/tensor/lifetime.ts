/** Anything that holds backend memory. */
export interface Disposable {
  dispose(): void;
}

const scopes: Disposable[][] = [];

/** Notes a new tensor in the innermost scope. Called by Tensor's constructor alone. */
export function registerBirth(born: Disposable): void {
  scopes.at(-1)?.push(born);
}

/** Opens a scope: what is born from now on is noted in it. */
export function pushScope(): void {
  scopes.push([]);
}

/** Closes the innermost scope: disposes what it noted, but hands `kept` to the scope around it. */
export function popScope(kept: ReadonlySet<Disposable>): void {
  const born = scopes.pop() ?? [];
  const outer = scopes.at(-1);
  for (const one of born) {
    if (!kept.has(one)) one.dispose();
    else outer?.push(one);
  }
}

/** Removes tensors from every open scope. */
export function release(kept: ReadonlySet<Disposable>): void {
  for (const born of scopes) {
    for (let i = born.length - 1; i >= 0; i--) if (kept.has(born[i])) born.splice(i, 1);
  }
}
