import { UsageError } from '../tensor/errors.ts';

/** A file of a repository, as its hub lists it. */
export interface RepoFile {
  /** Below the repository's root, with `/`. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Which files a pull is to fetch; without either, those that a model needs. */
export interface FileChoice {
  /** Names of files: whole paths, or their last part. */
  readonly file?: readonly string[];
  /** Patterns over paths: `*` within a folder, `**` across folders, `?` one character. */
  readonly include?: readonly string[];
}

/** What lies beside the weights and may be read: configuration, tokenizer, chat template. */
const COMPANIONS =
  /^(config\.json|generation_config\.json|tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt|chat_template[^/]*)$/;

/** A pattern with `*`, `**` and `?` as a regular expression over whole paths. */
export function globToRegExp(glob: string): RegExp {
  const source = glob.replace(/\*\*\/?|[*?]|[\\^$.|+()[\]{}]/g, (part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    return part === '?' ? '[^/]' : `\\${part}`;
  });
  return new RegExp(`^${source}$`);
}

function listed(files: readonly RepoFile[]): string {
  const names = files.slice(0, 20).map(({ path }) => path);
  return `${names.join(', ')}${files.length > 20 ? ` and ${files.length - 20} more` : ''}`;
}

function named<T extends RepoFile>(files: readonly T[], name: string, repo: string): T {
  const found = files.filter(({ path }) => path === name || path.endsWith(`/${name}`));
  const exact = found.find(({ path }) => path === name);
  if (exact) return exact;
  if (found.length === 1) return found[0];
  throw new UsageError(
    found.length === 0
      ? `pull: ${repo} has no file ${name}; it has ${listed(files)}`
      : `pull: ${name} is not one file of ${repo} but ${listed(found)}; give the whole path`,
    found.length === 0 ? 'E_NOT_FOUND' : 'E_USAGE',
  );
}

/** The weights at the root that make up one model: a single file, else its shards, else what there is. */
function weightsOf<T extends RepoFile>(files: readonly T[]): T[] {
  const tensors = files.filter(({ path }) => /^[^/]*\.safetensors$/.test(path));
  const single = tensors.filter(({ path }) => path === 'model.safetensors');
  if (single.length > 0) return single;
  // Some repositories hold the same weights twice, under another vendor's names.
  const shards = tensors.filter(({ path }) => /^model-\d+-of-\d+\.safetensors$/.test(path));
  return shards.length > 0 ? shards : tensors;
}

/**
 * The files to fetch of all that a repository has: the chosen ones, else configuration, tokenizer
 * and safetensors weights, else its GGUF file where it has exactly one.
 * @throws UsageError `E_NOT_FOUND` where nothing fits, `E_USAGE` where a choice has to be made
 */
export function selectFiles<T extends RepoFile>(
  files: readonly T[],
  choice: FileChoice,
  repo: string,
): T[] {
  const { file = [], include = [] } = choice;
  if (file.length > 0 || include.length > 0) {
    const chosen = new Set(file.map((name) => named(files, name, repo)));
    for (const glob of include) {
      const pattern = globToRegExp(glob);
      const found = files.filter(({ path }) => pattern.test(path));
      if (found.length === 0) {
        throw new UsageError(
          `pull: --include ${glob} fits no file of ${repo}; it has ${listed(files)}`,
          'E_NOT_FOUND',
        );
      }
      for (const one of found) chosen.add(one);
    }
    return [...chosen];
  }
  const weights = weightsOf(files);
  if (weights.length > 0) {
    const index = weights.length > 1 ? 'model.safetensors.index.json' : undefined;
    return [...files.filter(({ path }) => COMPANIONS.test(path) || path === index), ...weights];
  }
  const gguf = files.filter(({ path }) => path.toLowerCase().endsWith('.gguf'));
  if (gguf.length === 1) return gguf;
  if (gguf.length > 1) {
    throw new UsageError(
      `pull: ${repo} has ${gguf.length} GGUF files; choose one with --file: ${listed(gguf)}`,
    );
  }
  throw new UsageError(
    `pull: ${repo} has neither safetensors nor GGUF weights; it has ${listed(files)}`,
    'E_NOT_FOUND',
  );
}
