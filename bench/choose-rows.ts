import { createHash } from 'node:crypto';

/**
 * As many rows of a jsonl file, the same ones whenever it is read: in the order of their lines' MD5
 * and, where `balanced`, a class after the other in turn, so that classes are as alike in number as
 * the file allows.
 */
export function chooseRows(source: string, count: number, balanced: boolean): string {
  const lines = source.split('\n').filter((line) => line.trim() !== '');
  const md5 = (line: string) => createHash('md5').update(line).digest('hex');
  const ordered = lines
    .map((line) => ({ line, hash: md5(line) }))
    .sort((a, b) => (a.hash < b.hash ? -1 : 1))
    .map(({ line }) => line);
  if (!balanced) return ordered.slice(0, count).join('\n');
  const classes = new Map<string, string[]>();
  for (const line of ordered) {
    const { label } = JSON.parse(line) as { label: string };
    const known = classes.get(label);
    if (known) known.push(line);
    else classes.set(label, [line]);
  }
  const chosen: string[] = [];
  const most = Math.max(...[...classes.values()].map((rows) => rows.length));
  for (let turn = 0; turn < most; turn++) {
    for (const rows of classes.values()) {
      if (turn < rows.length && chosen.length < count) chosen.push(rows[turn]);
    }
  }
  return chosen.join('\n');
}
