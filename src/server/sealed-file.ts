import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { fileError } from '../platform/node.ts';
import { FormatError } from '../tensor/index.ts';

/** Of the line in front; another one is another form of what stands behind. */
const FORMAT = 1;

/** The line in front: what it is, how long, and its SHA-256. */
const HEADER = /^mobillm-state (\d+) ([a-z]+) (\d+) ([0-9a-f]{64})\n/;

/** No header is longer. */
const MAX_HEADER_BYTES = 200;

/** Writes all bytes at a position, in as many calls as that takes. */
export function writeFully(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, bytes.length - done, position + done);
  }
}

function syncFolder(path: string): void {
  // Windows cannot open a folder; the rename itself is atomic there, too.
  if (process.platform === 'win32') return;
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Writes a value (plain objects, arrays, typed arrays; numbers exactly, NaN too) whole or not at
 * all, with its length and SHA-256 in front: into a temporary file, synced, renamed.
 * @throws UsageError (E_DISK_FULL, E_NO_ACCESS, E_FILE); what was there before stays then
 */
export function writeSealed(path: string, kind: string, value: unknown): void {
  const body = serialize(value);
  const digest = createHash('sha256').update(body).digest('hex');
  const head = Buffer.from(`mobillm-state ${FORMAT} ${kind} ${body.length} ${digest}\n`);
  const name = `.${basename(path)}.tmp-${process.pid}-${randomBytes(4).toString('hex')}`;
  const temporary = join(dirname(path), name);
  try {
    const file = openSync(temporary, 'wx');
    try {
      writeFully(file, head, 0);
      writeFully(file, body, head.length);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw fileError('save job', path, error);
  }
}

/**
 * Reads what `writeSealed` wrote.
 * @throws FormatError (E_STATE) for a file that is cut short, damaged, of another kind or of a
 *   release with another form; UsageError (E_NOT_FOUND) where there is none
 */
export function readSealed(path: string, kind: string): unknown {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw fileError('read job', path, error);
  }
  const fail = (why: string) => new FormatError(`read job: ${path}: ${why}`, 'E_STATE');
  const header = HEADER.exec(bytes.toString('latin1', 0, MAX_HEADER_BYTES));
  if (!header) throw fail('it is no saved job, or its first line is damaged');
  const [line, format, found, length, digest] = header;
  if (Number(format) !== FORMAT) {
    throw fail(
      `it has form ${format}, this release reads ${FORMAT}; use the release that wrote it`,
    );
  }
  if (found !== kind) throw fail(`it holds a ${found} where a ${kind} is wanted`);
  const body = bytes.subarray(line.length);
  if (body.length !== Number(length)) {
    throw fail(`it is cut short: ${body.length} of ${length} bytes`);
  }
  if (createHash('sha256').update(body).digest('hex') !== digest) {
    throw fail('it is damaged: its SHA-256 is another');
  }
  return deserialize(body);
}
