// Checks that the documents say what is there: links, error codes, dependencies, scripts, folders.
// Prints one line a fault and exits with 1 when there is any.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const SKIPPED = new Set(['node_modules', 'dist', 'build', '.git']);

/** Every path below `folder`, files and folders, relative to the root. */
function walk(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`;
    return entry.isDirectory() ? [`${path}/`, ...walk(path)] : [path];
  });
}

const read = (path) => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '');
const withoutCode = (markdown) =>
  markdown.replace(/^(```|~~~).*?^\1/gms, '').replace(/`[^`\n]*`/g, '');

/** The anchor that GitHub gives to a heading. */
const slug = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');

/** Anchors of a document; a heading met again gets -1, -2, ... */
function anchors(markdown) {
  const found = new Set();
  const met = new Map();
  const text = markdown.replace(/^(```|~~~).*?^\1/gms, '');
  for (const [, heading] of text.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const base = slug(heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, ''));
    const times = met.get(base) ?? 0;
    met.set(base, times + 1);
    found.add(times ? `${base}-${times}` : base);
  }
  for (const [, id] of text.matchAll(/<a (?:id|name)="([^"]+)"/g)) found.add(id);
  return found;
}

const faults = [];
const fault = (file, message) => faults.push(`${file}: ${message}`);
const paths = walk('.');
const documents = paths.filter((path) => path.endsWith('.md') && !path.startsWith('test/'));

// Links and anchors.
for (const document of documents) {
  for (const [, target] of withoutCode(read(document)).matchAll(
    /\]\(<?([^)\s>]+)>?(?:\s"[^"]*")?\)/g,
  )) {
    if (/^[a-z][a-z+.-]*:/i.test(target)) continue;
    const [path, anchor] = target.split('#');
    const file = path
      ? relative(root, resolve(root, dirname(document), decodeURI(path)))
      : document;
    if (file.startsWith('..') || !existsSync(join(root, file))) {
      fault(document, `link to ${target}: no such file`);
    } else if (anchor && statSync(join(root, file)).isFile() && !anchors(read(file)).has(anchor)) {
      fault(document, `link to ${target}: no such heading`);
    }
  }
}

// Error codes: what the sources can say and what docs/errors.md explains are the same set.
const codesIn = (text) => new Set(text.match(/\bE_[A-Z0-9]+(?:_[A-Z0-9]+)*\b/g));
const explained = codesIn(read('docs/errors.md'));
const used = new Map();
for (const path of paths) {
  if (!/^src\/.*\.ts$/.test(path) || path.endsWith('.generated.ts')) continue;
  for (const code of codesIn(read(path))) used.set(code, [...(used.get(code) ?? []), path]);
}
for (const [code, [first]] of used) {
  if (!explained.has(code)) fault('docs/errors.md', `${code} (${first}) is not explained`);
}
for (const code of explained) {
  if (!used.has(code)) fault('docs/errors.md', `${code} is used nowhere in src`);
}
// The table of exit codes names every code, so it alone is no use.
for (const [code, where] of used) {
  if (where.every((path) => path === 'src/cli/exit-codes.ts')) {
    fault('src/cli/exit-codes.ts', `${code} is thrown nowhere in src`);
  }
}

// Dependencies and folders in ARCHITECTURE.md, scripts in README.md.
const manifest = JSON.parse(read('package.json'));
const architecture = read('ARCHITECTURE.md');
for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
  if (!architecture.includes(`\`${name}\``)) fault('ARCHITECTURE.md', `does not explain ${name}`);
}
for (const folder of paths.filter((path) => /^src\/.*\/$/.test(path))) {
  const name = folder.split('/').at(-2);
  const named = new RegExp(`(^|[\\s/\`])${name}/`, 'm').test(architecture);
  const filled = paths.some((path) => path.startsWith(folder) && !path.endsWith('/'));
  if (filled && !named) fault('ARCHITECTURE.md', `does not name ${folder}`);
}
for (const document of ['README.md', 'ARCHITECTURE.md']) {
  for (const [, name] of read(document).matchAll(/\bnpm (?:run |(?=test\b))([\w:-]+)/g)) {
    if (!(name in manifest.scripts)) fault(document, `npm script ${name} does not exist`);
  }
  for (const [path] of read(document).matchAll(
    /\b(?:scripts|bench|examples|docs)\/[\w./-]+\.\w+/g,
  )) {
    if (!existsSync(join(root, path))) fault(document, `${path} does not exist`);
  }
}

// Every export says what it is; typedoc sees only what the public barrels re-export.
for (const path of paths) {
  if (!/^src\/.*\.ts$/.test(path) || /\/assembly\/|\.generated\.ts$/.test(path)) continue;
  const lines = read(path)
    .split('\n')
    .filter((line) => !line.startsWith('// biome-ignore'));
  lines.forEach((line, i) => {
    const name =
      /^export (?:async |abstract )?(?:function\*?|class|const|let|interface|type) (\w+)/.exec(
        line,
      );
    if (name && !lines[i - 1]?.endsWith('*/')) fault(path, `${name[1]} has no docstring`);
  });
}

for (const line of faults) process.stderr.write(`${line}\n`);
process.stdout.write(
  `lint-docs: ${documents.length} documents, ${used.size} error codes, ${faults.length} faults\n`,
);
process.exitCode = faults.length > 0 ? 1 : 0;
