import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..', '..');
const FOLDER = resolve(process.env.MOBILLM_SHARED ?? join(ROOT, '..', 'shared'));

/**
 * A path in the folder of reference values and data sets that can stand beside a checkout
 * (`$MOBILLM_SHARED`, else `../shared`); undefined when it is not there.
 */
export function sharedPath(...parts: string[]): string | undefined {
  const path = join(FOLDER, ...parts);
  return existsSync(path) ? path : undefined;
}

let warned = false;

/**
 * The reason to skip a test that needs shared files, for `{ skip: skipWithoutShared(...) }`; false
 * when all are there. In CI a skip is also written to stderr: it is a hole in what is verified.
 */
export function skipWithoutShared(...parts: string[]): string | false {
  if (sharedPath(...parts) !== undefined) return false;
  const reason = `needs ${['shared', ...parts].join('/')} beside the checkout (or in $MOBILLM_SHARED)`;
  if (process.env.CI && !warned) {
    warned = true;
    process.stderr.write(`SKIPPED IN CI: a test ${reason}\n`);
  }
  return reason;
}
