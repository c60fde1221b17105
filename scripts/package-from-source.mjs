// `node --import ./scripts/package-from-source.mjs FILE`: in FILE, `mobillm/...` is what package.json
// exports, taken from src/ instead of dist/. Needs a Node that runs TypeScript (24).
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

const root = new URL('../', import.meta.url);
const { name, exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));

registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== name && !specifier.startsWith(`${name}/`)) return next(specifier, context);
    const target = exports[`.${specifier.slice(name.length)}`];
    if (target === undefined) throw new Error(`package.json does not export ${specifier}`);
    const source = target.replace('./dist/', './src/').replace(/\.js$/, '.ts');
    return { url: new URL(source, root).href, format: 'module-typescript', shortCircuit: true };
  },
});
