import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Command } from 'commander';
import fc from 'fast-check';
import { addColumnFlags } from '../../../src/cli/column-flags.ts';
import { addConfigFlag, configText } from '../../../src/cli/config-file.ts';
import { addModelFlags, addTapFlags } from '../../../src/cli/flags.ts';
import { addTrainingFlags } from '../../../src/cli/training-flags.ts';

const folder = mkdtempSync(join(tmpdir(), 'mobillm-config-'));
after(() => rmSync(folder, { recursive: true }));

const FILE = join(folder, 'run.yaml');

/** A program with two commands that share some flags. */
function program() {
  const root = new Command('mobillm').exitOverride().configureOutput({ writeErr: () => {} });
  const train = root.command('train').requiredOption('--server <url>').option('--token <secret>');
  addTrainingFlags(addTapFlags(addColumnFlags(addModelFlags(train))))
    .option('--no-baselines')
    .option('--trace <file>')
    .option('--json');
  addConfigFlag(train).action(() => {});
  addConfigFlag(root.command('eval').option('--split <name>', '', 'test')).action(() => {});
  root.command('serve').option('--port <n>');
  return { root, train };
}

function parse(yaml: string, ...args: string[]) {
  writeFileSync(FILE, yaml);
  const { root, train } = program();
  root.parse(['train', '--config', FILE, ...args], { from: 'user' });
  return train;
}

const flags = (yaml: string, ...args: string[]) => parse(yaml, ...args).opts();

describe('--config', () => {
  it('gives flags their values, typed as YAML has them', () => {
    const opts = flags(`
# a comment
server: ws://host:1
epochs: 7
learning-rate: 1e-3
activation-bits: 8
side: probe
taps: [mean]
layers: [1, 3-5]
baselines: false
refit: false
json: true
template: "{text}\\nliteral \\\\n" # YAML's own escapes
label-column: 'yes, "this"'
`);
    assert.equal(opts.server, 'ws://host:1');
    assert.deepEqual(
      [opts.epochs, opts.learningRate, opts.activationBits, opts.side, opts.taps],
      [7, 1e-3, '8', 'probe', ['mean']],
    );
    assert.deepEqual(opts.layers(9), [1, 3, 4, 5]);
    assert.deepEqual([opts.baselines, opts.refit, opts.json], [false, false, true]);
    assert.equal(opts.template, '{text}\nliteral \\n');
    assert.equal(opts.labelColumn, 'yes, "this"');
    // A list in one text, as a flag has it.
    assert.deepEqual(flags('server: a\ntaps: last,mean').taps, ['last', 'mean']);
  });

  it('takes a number or a word where a flag does', () => {
    const threads = (yaml: string) => flags(`server: ws://host:1\n${yaml}`).threads;
    assert.deepEqual(
      [threads('threads: 2'), threads('threads: auto'), threads("threads: '4'")],
      [2, 'auto', 4],
    );
    assert.throws(() => threads('threads: 0'), /threads: It must be auto, or a whole number/);
    assert.throws(() => threads('threads: true'), { code: 'E_CONFIG' });
  });

  it('gives way to flags, before it and after it', () => {
    writeFileSync(FILE, 'server: from-file\nepochs: 7\nseed: 4\njson: true\n');
    const { root, train } = program();
    const line = ['train', '--epochs', '2', '--config', FILE, '--server', 'from-flag'];
    root.parse(line, { from: 'user' });
    const { epochs, server, seed } = train.opts();
    assert.deepEqual([epochs, server, seed], [2, 'from-flag', 4]);
  });

  it('may be empty, hold keys of other commands, and end lines as Windows does', () => {
    assert.equal(flags('', '--server', 'a').gateRate, 10);
    assert.equal(flags('\ufeff# nothing\r\n', '--server', 'a').gateRate, 10);
    assert.equal(flags('split: dev\r\nepochs: 3\r\n', '--server', 'a').epochs, 3);
  });

  const cases: [what: string, yaml: string, says: RegExp][] = [
    [
      'a misspelt key',
      'server: a\nepoch: 3\n',
      /run\.yaml:2: unknown key "epoch"; did you mean "epochs"\?$/,
    ],
    ['another spelling', 'learning_rate: 3\n', /:1: .*did you mean "learning-rate"\?$/],
    ['camel case', 'learningRate: 3\n', /did you mean "learning-rate"\?$/],
    [
      "nobody's key",
      'colour: red\n',
      /unknown key "colour"; keys are the flags of mobillm train --help/,
    ],
    ['a key of a command without files', 'port: 3\n', /unknown key "port"/],
    [
      'a secret',
      'token: x\n',
      /unknown key "token"; a secret does not belong here, set MOBILLM_TOKEN$/,
    ],
    ['a file within a file', 'config: x\n', /unknown key "config"/],
    ['a negated name', 'no-refit: true\n', /unknown key "no-refit"/],
    [
      'words for a number',
      'seed: 1\n\nepochs: many\n',
      /:3: epochs: must be a number, it is the text "many"$/,
    ],
    ['a number in quotes', 'epochs: "3"\n', /epochs: must be a number, it is the text "3"$/],
    [
      'a number out of range',
      'epochs: 0\n',
      /:1: epochs: It must be a whole number of at least 1\. It is 0\.$/,
    ],
    ['half a number', 'epochs: 1.5\n', /epochs: It must be a whole number/],
    ['no value', 'epochs:\n', /epochs: must be a number, it is empty$/],
    ['a number for a text', 'model: 5\n', /model: must be a text, in quotes, it is 5$/],
    ['a word for a switch', 'json: on\n', /json: must be true or false, it is the text "on"$/],
    [
      'a choice that is none',
      'side: lora\n',
      /:1: side: Allowed choices are .*probe.* It is the text "lora"\.$/,
    ],
    ['bits that are none', 'activation-bits: 5\n', /activation-bits: Allowed choices are 1, 2/],
    ['a list for a number', 'epochs: [1, 2]\n', /epochs: must be a number, it is a list$/],
    ['an empty list', 'taps: []\n', /taps: must be a list, it is a list$|taps: must be a list/],
    ['keys within a key', 'taps: {last: 1}\n', /taps: must be a list, it is keys and values$/],
    ['a key twice', 'seed: 1\nseed: 2\n', /:2: is not YAML: .*unique/],
    ['what is not YAML', 'seed: 1\nepochs: [1\n', /run\.yaml:\d: is not YAML/],
    ['a list of keys', '- seed\n', /:1: must be keys and values, as in "epochs: 5"$/],
    ['a key that is no text', '1: 2\n', /:1: a key must be the name of a flag$/],
  ];
  for (const [what, yaml, says] of cases) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parse(yaml, '--server', 'a'), { code: 'E_CONFIG', message: says });
    });
  }

  it('refuses a file that is not there, and a folder', () => {
    const line = (file: string) => () =>
      program().root.parse(['train', '--config', file], { from: 'user' });
    assert.throws(line(join(folder, 'none.yaml')), { code: 'E_NOT_FOUND', message: /none\.yaml/ });
    assert.throws(line(folder), { code: 'E_FILE' });
  });
});

describe('configText', () => {
  it('runs the command again, whatever its flags were', () => {
    fc.assert(
      fc.property(
        fc.record({
          template: fc.string({ unit: 'grapheme', minLength: 1 }),
          model: fc.string({ unit: 'grapheme', minLength: 1 }),
          seed: fc.nat(),
          rate: fc.double({ min: 1e-9, max: 1, noNaN: true }),
          bits: fc.constantFrom('1', '4', '16'),
          baselines: fc.boolean(),
        }),
        ({ template, model, seed, rate, bits, baselines }) => {
          const first = parse(
            'server: a\n',
            ...['--seed', String(seed), '--learning-rate', String(rate), `--model=${model}`],
            ...['--activation-bits', bits, ...(baselines ? [] : ['--no-baselines'])],
          );
          const text = configText(first, { template, layers: [2, 3] });
          const again = parse(text);
          const { layers, template: _, ...before } = first.opts();
          const { layers: layersAgain, template: templateAgain, ...rest } = again.opts();
          assert.deepEqual(rest, before);
          assert.equal(templateAgain, template);
          assert.deepEqual(layersAgain(9), [2, 3]);
          assert.equal(configText(again, { template, layers: [2, 3] }), text);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('holds no secret and nothing of how the run was watched', () => {
    const watched = ['--token', 'hush', '--json', '--trace', 'trace.json'];
    const text = configText(parse('server: a\n', ...watched), { layers: [1] });
    assert.doesNotMatch(text, /hush|json|trace|^config/m);
    assert.match(text, /^server: a$/m);
    const named = configText(parse('server: wss://me:hush@host:8765/x\n'), { layers: [1] });
    assert.match(named, /^server: wss:\/\/host:8765\/x$/m);
  });
});
