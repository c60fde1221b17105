import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withSharedMemory } from '../../../src/tensor/backends/wasm/shared-import.ts';
import { BackendError } from '../../../src/tensor/errors.ts';

const HEADER = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];
const section = (id: number, body: number[]) => [id, body.length, ...body];
const imports = (...entries: number[][]) => section(2, [entries.length, ...entries.flat()]);

/** `() => ()`, which an imported function needs. */
const TYPES = section(1, [1, 0x60, 0, 0]);
const FUNCTION = [...name('env'), ...name('f'), 0, 0];
const TABLE = [...name('env'), ...name('t'), 1, 0x70, 1, 1, 2];
const GLOBAL = [...name('env'), ...name('g'), 3, 0x7f, 0];
/** At least 1 page, at most 300 (two bytes of LEB128). */
const memory = (...limits: number[]) => [...name('env'), ...name('memory'), 2, ...limits];
const MEMORY = memory(1, 1, 0xac, 2);

const bytesOf = (...sections: number[][]) => Uint8Array.from([...HEADER, ...sections.flat()]);

/** The module over a memory; throws where they do not fit. */
function link(bytes: Uint8Array<ArrayBuffer>, shared: boolean): void {
  const env = {
    f: () => {},
    g: 1,
    t: new WebAssembly.Table({ element: 'anyfunc', initial: 1, maximum: 2 }),
    memory: new WebAssembly.Memory({ initial: 1, maximum: 300, shared }),
  };
  new WebAssembly.Instance(new WebAssembly.Module(bytes), { env });
}

test('the memory becomes a shared one, wherever it stands among the imports', () => {
  for (const entries of [
    [MEMORY],
    [FUNCTION, MEMORY],
    [TABLE, GLOBAL, MEMORY],
    [MEMORY, FUNCTION, GLOBAL],
  ]) {
    const plain = bytesOf(TYPES, imports(...entries));
    link(plain, false);
    assert.throws(() => link(plain, true), WebAssembly.LinkError);
    const before = Uint8Array.from(plain);
    const shared = withSharedMemory(plain);
    link(shared, true);
    assert.throws(() => link(shared, false), WebAssembly.LinkError);
    assert.deepEqual(plain, before, 'the original is left alone');
    const changed = [...shared].filter((byte, i) => byte !== plain[i]);
    assert.deepEqual(changed, [3], 'one byte differs');
    assert.deepEqual(withSharedMemory(shared), shared);
  }
});

test('what has no such memory is refused', () => {
  const refused: [Uint8Array, RegExp][] = [
    [bytesOf(TYPES, imports(memory(0, 1))), /states no maximum/],
    [bytesOf(TYPES, imports(FUNCTION)), /imports no memory/],
    [bytesOf(TYPES), /imports no memory/],
    [bytesOf(TYPES, imports([...name('env'), ...name('x'), 9])), /unknown kind 9/],
    [bytesOf(TYPES, imports(FUNCTION, MEMORY)).subarray(0, 17), /cut short|no memory/],
    [bytesOf([2, 0xff]), /cut short/],
  ];
  for (const [bytes, says] of refused) {
    assert.throws(
      () => withSharedMemory(bytes),
      (error) => error instanceof BackendError && says.test(error.message),
    );
  }
});
