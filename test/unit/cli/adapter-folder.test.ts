import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import {
  instantiateAdapter,
  readAdapterFolder,
  type SavedAdapter,
  writeAdapterFolder,
} from '../../../src/cli/adapter-folder.ts';
import { cpuBackend, disposeTree, random } from '../../../src/tensor/index.ts';
import { ADAPTER_CONFIG, freshAdapterWeights } from '../../support/adapter.ts';

const root = mkdtempSync(join(tmpdir(), 'mobillm-adapter-'));
after(() => rmSync(root, { recursive: true, force: true }));

const saved = (side: 'parallel' | 'probe' | 'mix'): SavedAdapter => {
  const config = { ...ADAPTER_CONFIG, side };
  return { config, weights: freshAdapterWeights(config) };
};
const main = saved('parallel');
const baselines = new Map([
  ['probe', saved('probe')],
  ['mix', saved('mix')],
]);

/** Files below a folder, sorted. */
const filesIn = (path: string) =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();

describe('an adapter folder', () => {
  it('comes back as it was written, baselines as adapters of their own', async () => {
    const path = join(root, 'new', 'adapter');
    await writeAdapterFolder(path, main, baselines);
    const names = ['README.md', 'adapter_config.json', 'adapter_model.safetensors'];
    assert.deepEqual(
      filesIn(path),
      ['', 'baselines/mix/', 'baselines/probe/']
        .flatMap((folder) => names.map((name) => folder + name))
        .sort(),
    );
    assert.deepEqual(await readAdapterFolder(path), main);
    assert.deepEqual(await readAdapterFolder(join(path, 'baselines', 'mix')), baselines.get('mix'));
    assert.match(readFileSync(join(path, 'README.md'), 'utf8'), /# parallel side network/);
  });

  it('is replaced by the next one, which leaves other files there alone', async () => {
    const path = join(root, 'replaced');
    await writeAdapterFolder(path, main, baselines);
    writeFileSync(join(path, 'notes.txt'), 'mine');
    const probe = saved('probe');
    await writeAdapterFolder(path, probe, new Map([['mix', saved('mix')]]));
    assert.deepEqual(await readAdapterFolder(path), probe);
    assert.equal(readFileSync(join(path, 'notes.txt'), 'utf8'), 'mine');
    assert.deepEqual(readdirSync(join(path, 'baselines')), ['mix']);
    await writeAdapterFolder(path, main, new Map());
    assert.ok(!readdirSync(path).includes('baselines'), 'those of another run are gone');
    assert.equal(readFileSync(join(path, 'notes.txt'), 'utf8'), 'mine');
    assert.ok(readdirSync(root).every((name) => !name.includes('tmp')));
  });

  it('that is missing, cut or foreign is refused with its path', async () => {
    const refuses = (path: string, code: string, message: RegExp) =>
      assert.rejects(readAdapterFolder(path), (error: unknown) => {
        const fault = error as { code: string; message: string };
        assert.equal(fault.code, code, fault.message);
        return message.test(fault.message);
      });
    await refuses(join(root, 'none'), 'E_NOT_FOUND', /none.adapter_config\.json/);
    const path = join(root, 'broken');
    mkdirSync(path);
    const config = join(path, 'adapter_config.json');
    writeFileSync(config, '{"peft_type": ');
    await refuses(path, 'E_ADAPTER', /broken.adapter_config\.json: not JSON/);
    writeFileSync(config, '{"peft_type": "LORA"}');
    await refuses(path, 'E_ADAPTER', /broken.adapter_config\.json: peft_type/);
    writeFileSync(config, JSON.stringify(ADAPTER_CONFIG));
    await refuses(path, 'E_NOT_FOUND', /adapter_model\.safetensors/);
  });
});

describe('instantiateAdapter', () => {
  const backend = cpuBackend();

  it('builds the side network that the configuration describes', async () => {
    for (const adapter of [main, ...baselines.values()]) {
      const loaded = await instantiateAdapter(adapter, backend);
      assert.equal(loaded.model.name, adapter.config.side);
      assert.deepEqual(loaded.model.shape, { layers: 2, width: 5, kinds: 2, classes: 3 });
      disposeTree(loaded.params);
    }
    assert.equal(backend.memory().bytes, 0);
  });

  it('refuses weights that belong to another configuration', async () => {
    const { weights } = main;
    for (const config of [
      { ...ADAPTER_CONFIG, rank: 4 },
      { ...ADAPTER_CONFIG, labels: ['a', 'b'] },
      { ...ADAPTER_CONFIG, layers: [2] },
      { ...ADAPTER_CONFIG, side: 'probe' as const },
    ]) {
      await assert.rejects(instantiateAdapter({ config, weights }, backend), { code: 'E_ADAPTER' });
    }
    const noise = Uint8Array.from({ length: 100 }, () => random(1).int(256));
    await assert.rejects(instantiateAdapter({ config: ADAPTER_CONFIG, weights: noise }, backend), {
      name: 'FormatError',
    });
  });
});
