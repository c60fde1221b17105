import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import {
  assertFails,
  type CliServer,
  runCli,
  SMALL_JOB,
  startServer,
  workspace,
} from '../support/cli.ts';
import { jsonLines, tinyModel, tinyRows } from '../support/tiny-model.ts';

/*
 * Whatever is wrong: one line on standard error that says what, where and what to do, the exit code
 * that docs/errors.md gives it, and nothing half-written.
 */

const space = workspace();
const rows = tinyRows(30);
let server: CliServer;
before(async () => {
  const whole = tinyModel();
  writeFileSync(space.path('cut.gguf'), whole.subarray(0, whole.length - 100));
  writeFileSync(space.path('header.gguf'), whole.subarray(0, 500));
  writeFileSync(space.path('mamba.gguf'), tinyModel({ architecture: 'mamba' }));
  writeFileSync(space.path('page.gguf'), '<html>not found</html>');
  mkdirSync(space.path('bloom'));
  writeFileSync(space.path('bloom/config.json'), '{"model_type": "bloom"}');
  server = await startServer();
});

after(async () => {
  const { stderr } = await server.stop();
  space.remove();
  assert.ok(!/"msg":"job/.test(stderr), `none of this may become a job: ${stderr}`);
});

interface Case {
  /** Flags beside those of a sound job; a later flag wins. */
  readonly flags: () => string[];
  readonly code: number;
  /** What the one line says. */
  readonly says: RegExp;
}

const trainCases: Record<string, Case> = {
  'a model that is not there': {
    flags: () => ['--model', space.path('none.gguf')],
    code: 2,
    says: /E_NOT_FOUND.*none\.gguf is neither a file nor a named model \(mobillm pull --help/,
  },
  'a folder that holds no model': {
    flags: () => ['--model', space.root],
    code: 2,
    says: /E_NOT_FOUND.*it has no config\.json, so it is no model folder/,
  },
  'a folder of an architecture that is not built in': {
    flags: () => ['--model', space.path('bloom')],
    code: 4,
    says: /E_MODEL_ARCHITECTURE.*bloom\/config\.json: model_type "bloom" is not supported/,
  },
  'a model cut short': {
    flags: () => ['--model', space.path('cut.gguf')],
    code: 4,
    says: /E_GGUF_TRUNCATED.*cut\.gguf: tensor blk\.2.*cut short or damaged/,
  },
  'a model cut in its header': {
    flags: () => ['--model', space.path('header.gguf')],
    code: 4,
    says: /E_GGUF_TRUNCATED.*header\.gguf/,
  },
  'a model of another architecture': {
    flags: () => ['--model', space.path('mamba.gguf')],
    code: 4,
    says: /E_MODEL_ARCHITECTURE.*mamba\.gguf: architecture "mamba".*not supported/,
  },
  'a page instead of a model': {
    flags: () => ['--model', space.path('page.gguf')],
    code: 4,
    says: /E_GGUF_MAGIC.*is not a GGUF file/,
  },
  'no data folder': {
    flags: () => ['--data', space.path('nowhere')],
    code: 3,
    says: /E_DATA.*nowhere\/train\.jsonl: not found/,
  },
  'a malformed line': {
    flags: () => [
      '--data',
      space.data('malformed', { train: `${jsonLines(rows.slice(0, 3))}{"text": "x"\n` }),
    ],
    code: 3,
    says: /E_DATA.*malformed\/train\.jsonl:4: is not JSON/,
  },
  'a label not seen in training': {
    flags: () => [
      '--data',
      space.data('unseen', { train: rows, test: [rows[0], { text: 'a', label: 'odd' }] }),
    ],
    code: 3,
    says: /E_DATA.*unseen\/test\.jsonl:2: label "odd" was not seen in training; known are high/,
  },
  'an empty text': {
    flags: () => ['--data', space.data('empty', { train: [...rows, { text: ' ', label: 'low' }] })],
    code: 3,
    says: /E_DATA.*empty\/train\.jsonl:31: "text" is empty/,
  },
  'one class': {
    flags: () => [
      '--data',
      space.data('one', { train: rows.filter(({ label }) => label === 'low') }),
    ],
    code: 3,
    says: /E_DATA.*all 10 rows have the label "low"; at least two/,
  },
  'a row a class, none to validate with': {
    flags: () => ['--data', space.data('few', { train: rows.slice(0, 3) })],
    code: 3,
    says: /E_DATA.*no class has a row to spare for validation/,
  },
  'layers that the model lacks': {
    flags: () => ['--layers', '1,99'],
    code: 2,
    says: /E_USAGE.*--layers: 99 given, the model has layers 1 to 3/,
  },
  'more examples than the context holds': {
    flags: () => ['--prefix-shots', '20'],
    code: 2,
    says: /E_USAGE.*--prefix-shots: \d+ tokens.*use fewer shots/,
  },
  'more examples than rows': {
    flags: () => ['--prefix-shots', '54'],
    code: 2,
    says: /E_USAGE.*--prefix-shots: 54 leave none of 54 rows/,
  },
  'a template that leaves the text out': {
    flags: () => ['--template', 'What is this?'],
    code: 2,
    says: /E_TEMPLATE.*\{text\} is missing/,
  },
  'a template longer than a sample may be': {
    flags: () => ['--template', 'a long question about {text}', '--max-seq-length', '5'],
    code: 2,
    says: /E_USAGE.*--max-seq-length: 5 tokens do not hold the template itself/,
  },
  'samples longer than the context': {
    flags: () => [
      ...['--max-seq-length', '1000', '--data'],
      space.data('long', { train: tinyRows(30, { words: 80 }) }),
    ],
    code: 2,
    says: /E_USAGE.*--max-seq-length: 1000 tokens exceed .* is 256; use 256 or fewer/,
  },
  'no epoch at all': { flags: () => ['--epochs', '0'], code: 2, says: /E_USAGE.*--epochs.*'0'/ },
  'a flag that does not exist': {
    flags: () => ['--epoch', '3'],
    code: 2,
    says: /E_USAGE.*unknown option '--epoch'.*see mobillm train --help/,
  },
  'an adapter path that is a file': {
    flags: () => ['--adapter-path', space.model],
    code: 2,
    says: /E_FILE.*--adapter-path: .*tiny\.gguf: is a file, not a folder/,
  },
  'a trace below a file': {
    flags: () => ['--trace', `${space.model}/trace.json`],
    code: 2,
    says: /E_FILE.*--trace: .*tiny\.gguf: is a file, not a folder/,
  },
};

describe('train', { concurrency: 3 }, () => {
  for (const [what, { flags, code, says }] of Object.entries(trainCases)) {
    test(what, async () => {
      const adapter = space.path('adapters', what);
      const result = await runCli(
        [
          ...['train', '--server', server.url, '--model', space.model],
          ...['--data', space.tiny, '--adapter-path', adapter, ...SMALL_JOB, '--json'],
          ...flags(),
        ],
        { env: { MOBILLM_HOME: space.path('home') } },
      );
      assertFails(result, code, says);
      assert.ok(!existsSync(space.path('adapters')), 'nothing is left');
    });
  }
});
