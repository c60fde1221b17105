import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pullLine } from '../../../src/cli/pull-progress.ts';
import { globToRegExp, selectFiles } from '../../../src/cli/pull-select.ts';

const select = (paths: string[], choice = {}) =>
  selectFiles(
    paths.map((path) => ({ path, size: 1 })),
    choice,
    'a/b',
  ).map(({ path }) => path);

describe('selectFiles', () => {
  it('takes what a model needs and nothing else', () => {
    const needed = ['config.json', 'tokenizer.json', 'chat_template.jinja', 'model.safetensors'];
    const others = ['README.md', 'model.onnx', 'tf_model.h5', 'onnx/config.json', 'x.gguf'];
    assert.deepEqual(select([...others, ...needed]), needed);
  });

  it('takes one set of weights where there are several', () => {
    const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    const index = 'model.safetensors.index.json';
    assert.deepEqual(select([index, ...shards, 'consolidated.safetensors']), [index, ...shards]);
    assert.deepEqual(select(['model.safetensors', index, ...shards]), ['model.safetensors']);
  });

  it('takes the only GGUF file, and has one of several chosen', () => {
    assert.deepEqual(select(['README.md', 'a.gguf']), ['a.gguf']);
    assert.throws(() => select(['a.gguf', 'b.GGUF']), {
      code: 'E_USAGE',
      message: /a\.gguf, b\.GGUF/,
    });
    assert.deepEqual(select(['q/a.gguf', 'b.gguf'], { file: ['a.gguf'] }), ['q/a.gguf']);
    assert.throws(() => select(['q/a.gguf', 'r/a.gguf'], { file: ['a.gguf'] }), /whole path/);
  });

  it('says what there is when nothing fits', () => {
    for (const choice of [{}, { file: ['x'] }, { include: ['*.gguf'] }]) {
      assert.throws(() => select(['README.md', 'm.bin'], choice), {
        code: 'E_NOT_FOUND',
        message: /it has README\.md, m\.bin$/,
      });
    }
  });

  it('reads patterns as shells do', () => {
    for (const [glob, path, fits] of [
      ['*.json', 'a.json', true],
      ['*.json', 'x/a.json', false],
      ['**/*.json', 'x/y/a.json', true],
      ['**/*.json', 'a.json', true],
      ['x/**', 'x/y/a', true],
      ['a?c', 'abc', true],
      ['a?c', 'a/c', false],
      ['a+(b).json', 'a+(b).json', true],
      ['a.json', 'abjson', false],
    ] as const) {
      assert.equal(globToRegExp(glob).test(path), fits, `${glob} ${path}`);
    }
  });
});

describe('pullLine', () => {
  it('shows a bar, bytes, rate and ETA where bytes are counted', () => {
    const progress = { phase: 'downloading', source: 'hub', message: '3 files' } as const;
    const counted = { done: 250e6, total: 500e6, bytesPerSecond: 10e6, secondsLeft: 25 };
    assert.equal(
      pullLine('a/b', { ...progress, ...counted }),
      'pull [##########..........] 50%, 250.0 MB of 500.0 MB, 10.0 MB/s, ETA 0:25, a/b: hub: 3 files',
    );
    const none = { done: 0, total: 0, bytesPerSecond: 0, secondsLeft: Infinity };
    assert.equal(pullLine('a/b', { ...progress, ...none }), 'pull a/b: hub: 3 files');
  });
});
