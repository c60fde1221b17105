import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Command, InvalidArgumentError } from 'commander';
import fc from 'fast-check';
import {
  addModelFlags,
  addTapFlags,
  decimal,
  integer,
  layerChoice,
  type ModelFlags,
  type TapFlags,
  threadsOf,
} from '../../../src/cli/flags.ts';
import {
  addTrainingFlags,
  checkRows,
  type TrainingFlags,
  trainingOptions,
} from '../../../src/cli/training-flags.ts';
import { trainingOptionsSchema } from '../../../src/server/index.ts';

describe('integer', () => {
  it('takes whole numbers of at least its minimum, and nothing else', () => {
    assert.deepEqual(['1', '32', ' 7 ', '1e3'].map(integer(1)), [1, 32, 7, 1000]);
    for (const text of ['0', '-1', '1.5', '', ' ', 'x', '1x', 'NaN', 'Infinity', '1e30']) {
      assert.throws(() => integer(1)(text), InvalidArgumentError, text);
    }
    assert.equal(integer(0)('0'), 0);
  });
});

describe('decimal', () => {
  it('takes numbers of its range, its lower end only where it is not left out', () => {
    assert.deepEqual(['0', '0.5', '1', '1e-3'].map(decimal(0, 1)), [0, 0.5, 1, 0.001]);
    for (const text of ['-0.1', '1.1', '', 'x', 'NaN', 'Infinity']) {
      assert.throws(() => decimal(0, 1)(text), InvalidArgumentError, text);
    }
    assert.throws(() => decimal(0, 1, true)('0'), /above 0, at most 1/);
    assert.equal(decimal(0, 1, true)('0.1'), 0.1);
  });
});

describe('layerChoice', () => {
  it('reads numbers, ranges, steps and names', () => {
    assert.deepEqual(layerChoice('8,10,12')(30), [8, 10, 12]);
    assert.deepEqual(layerChoice('12, 8,8')(30), [8, 12]);
    assert.deepEqual(layerChoice('2-5')(30), [2, 3, 4, 5]);
    assert.deepEqual(layerChoice('8-14/3')(30), [8, 11, 14]);
    assert.deepEqual(layerChoice('all')(4), [1, 2, 3, 4]);
    assert.deepEqual(layerChoice('last')(30), [30]);
    assert.deepEqual(layerChoice('0,last,2-3')(9), [0, 2, 3, 9]);
    for (const text of ['', 'x', '1-', '-3', '1-2-3', '1/2', '1.5', 'all,x', '1;2', '1-3/']) {
      assert.throws(() => layerChoice(text), InvalidArgumentError, text);
    }
  });

  it('auto: ascending layers of the model, the last one among them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), (count) => {
        const layers = layerChoice('auto')(count);
        assert.equal(layers.at(-1), count);
        assert.ok(layers.every((layer, i) => layer >= 1 && (i === 0 || layer > layers[i - 1])));
      }),
    );
  });
});

/** What a command line comes to. */
function parsed(...args: string[]): ModelFlags & TapFlags & TrainingFlags {
  const command = new Command('train').exitOverride().configureOutput({ writeErr: () => {} });
  addTrainingFlags(addTapFlags(addModelFlags(command)));
  return command.parse(args, { from: 'user' }).opts();
}

describe('the flags of a training job', () => {
  it('have defaults that a server takes', () => {
    const flags = parsed();
    const options = trainingOptions(flags, ['probe', 'mix'], true);
    assert.deepEqual(trainingOptionsSchema.parse(options), options);
    assert.ok(flags.layers(30).length > 0 && flags.taps.length > 0);
  });

  it('--head kernel is a method of its own, for labels, without a side network, and few rows', () => {
    const options = trainingOptions(parsed('--head', 'kernel'), ['probe', 'mix'], true);
    assert.deepEqual(
      [options.side, options.head, options.baselines.length],
      ['kernel', 'dense', 2],
    );
    assert.deepEqual(trainingOptionsSchema.parse(options), options);
    const kernel = (...flags: string[]) => parsed('--head', 'kernel', ...flags);
    assert.throws(
      () => trainingOptions(kernel('--side', 'ladder'), [], true),
      /^UsageError: --head: kernel reads the taps themselves, with no ladder network before it/,
    );
    assert.throws(() => trainingOptions(kernel(), [], true, 'lm'), /--head: kernel classifies/);
    checkRows(options, { train: 3600, valid: 400 });
    checkRows({ ...options, refit: false }, { train: 4000, valid: 400 });
    assert.throws(() => checkRows(options, { train: 3601, valid: 400 }), /the data has 4001/);
    checkRows(trainingOptions(parsed(), [], true), { train: 1e6, valid: 1e5 });
  });

  it('come through under their names', () => {
    const flags = parsed(
      ...['--template', '{text}\\nIs', '--layers', '3-5', '--taps', 'mean', '--epochs', '7'],
      ...['--activation-bits', '2', '--precision', 'f32', '--learning-rate', '0.5', '--seed', '9'],
      ...['--side', 'mix', '--batch-size', '5', '--rank', '6'],
    );
    assert.deepEqual(
      [flags.template, flags.layers(30), flags.taps, flags.activationBits, flags.precision],
      ['{text}\nIs', [3, 4, 5], ['mean'], '2', 'f32'],
    );
    const options = trainingOptions(flags, ['probe', 'mix'], true);
    const { side, baselines, epochs, batchSize, learningRate, rank, seed } = options;
    // What is trained anyway is no baseline of itself.
    assert.deepEqual(
      { side, baselines, epochs, batchSize, learningRate, rank, seed },
      {
        side: 'mix',
        baselines: ['probe'],
        epochs: 7,
        batchSize: 5,
        learningRate: 0.5,
        rank: 6,
        seed: 9,
      },
    );
  });

  it('take a number of threads, or as many as there are cores', () => {
    assert.deepEqual(
      [parsed().threads, parsed('--threads', '3').threads, parsed('--threads', 'auto').threads],
      ['auto', 3, 'auto'],
    );
    assert.equal(threadsOf(3), 3);
    assert.ok(threadsOf('auto') >= 1 && threadsOf('auto') <= 16);
  });

  it('name the flag that an old one became', () => {
    assert.throws(() => parsed('--weights', 'int8'), /It is --precision int8 now\./);
  });

  it('refuse what they do not know', () => {
    for (const args of [
      ['--taps', 'middle'],
      ['--taps', 'last,last'],
      ['--activation-bits', '5'],
      ['--precision', 'int2'],
      ['--side', 'lora'],
      ['--layers', 'some'],
      ['--epochs', '0'],
      ['--device-backend', 'gpu'],
      ...['0', '65', '1.5', 'all', ''].map((threads) => ['--threads', threads]),
      ['--no-such-flag'],
    ]) {
      assert.throws(
        () => parsed(...args),
        (error: unknown) => {
          const { code } = error as { code: string };
          return code.startsWith('commander.');
        },
        args.join(' '),
      );
    }
  });
});
