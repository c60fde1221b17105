import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EXIT, exitCodeOf } from '../../../src/cli/exit-codes.ts';
import {
  FormatError,
  MobillmError,
  ProtocolError,
  ShapeError,
  UsageError,
} from '../../../src/tensor/errors.ts';

const document = readFileSync(join(import.meta.dirname, '../../../docs/errors.md'), 'utf8');

/** Cells of every table row whose first cell is one code in backticks. */
const rows = document
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter(([, first]) => /^`[^`]+`$/.test(first ?? ''));

test('every code in docs/errors.md ends the process as it says there', () => {
  const codes = rows.filter(([, code]) => code.startsWith('`E_'));
  assert.ok(codes.length > 0);
  for (const row of codes) {
    const code = row[1].replaceAll('`', '');
    assert.equal(row.length, 6, `${code}: code, meaning, what to do, exit code`);
    assert.equal(exitCodeOf(new MobillmError(code, 'x')), Number(row[4]), code);
  }
  const names = codes.map((row) => row[1]);
  assert.equal(new Set(names).size, names.length, 'a code stands there twice');
});

test('every exit code is explained in docs/errors.md', () => {
  const explained = rows.map((row) => Number(row[1].replaceAll('`', ''))).filter(Number.isInteger);
  assert.deepEqual(explained, Object.values(EXIT));
});

test('a code that the table lacks goes by its class', () => {
  assert.equal(exitCodeOf(new UsageError('x', 'E_NEW')), EXIT.usage);
  assert.equal(exitCodeOf(new FormatError('x', 'E_NEW')), EXIT.data);
  assert.equal(exitCodeOf(new ProtocolError('x', 'E_NEW')), EXIT.connection);
  assert.equal(exitCodeOf(new ShapeError('x')), EXIT.internal);
});

test("what the server reports is the server's, whatever its code", () => {
  assert.equal(exitCodeOf(new ProtocolError('the server: disk is full', 'E_DISK_FULL')), 5);
});

test('errors of the system, of the argument parser, of an abort and of no kind at all', () => {
  const withCode = (code: string) => Object.assign(new Error('x'), { code });
  assert.equal(exitCodeOf(withCode('ENOSPC')), EXIT.disk);
  assert.equal(exitCodeOf(withCode('ECONNREFUSED')), EXIT.connection);
  assert.equal(exitCodeOf(withCode('ENOENT')), EXIT.usage);
  assert.equal(exitCodeOf(withCode('commander.unknownOption')), EXIT.usage);
  assert.equal(exitCodeOf(withCode('toString')), EXIT.internal);
  assert.equal(exitCodeOf(new DOMException('stop', 'AbortError')), EXIT.interrupted);
  assert.equal(exitCodeOf(new Error('fetch failed', { cause: withCode('ENOTFOUND') })), 5);
  assert.equal(exitCodeOf(new TypeError('bug')), EXIT.internal);
  assert.equal(exitCodeOf('bug'), EXIT.internal);
});
