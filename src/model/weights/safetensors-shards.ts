import { FormatError } from '../../tensor/errors.ts';
import type { SafetensorsEntry, SafetensorsFile } from './safetensors.ts';

/**
 * The files that a model.safetensors.index.json names, each once, in order of their names.
 * @throws FormatError (E_SAFETENSORS) when it is no index, or names a file outside its folder
 */
export function shardNames(index: unknown, name: string): string[] {
  const map = weightMap(index, name);
  const files = [...new Set(map.values())].sort();
  const outside = files.find((file) => !/^[\w-][\w.-]*$/.test(file));
  if (outside !== undefined) {
    throw new FormatError(
      `${name}: ${JSON.stringify(outside)} is no file name in its folder`,
      'E_SAFETENSORS',
    );
  }
  return files;
}

/**
 * Several safetensors files as one, each tensor out of the file that the index says.
 * @param shards the opened files, by the names that `shardNames` gave
 * @throws FormatError (E_SAFETENSORS) when a tensor is not where the index says
 */
export function joinShards(
  index: unknown,
  name: string,
  shards: ReadonlyMap<string, SafetensorsFile>,
): SafetensorsFile {
  const tensors = new Map<string, SafetensorsEntry>();
  const homes = new Map<string, SafetensorsFile>();
  for (const [tensor, file] of weightMap(index, name)) {
    const shard = shards.get(file);
    const entry = shard?.tensors.get(tensor);
    if (!shard || !entry) {
      throw new FormatError(
        `${name}: tensor ${JSON.stringify(tensor)} is not in ${file}`,
        'E_SAFETENSORS',
      );
    }
    tensors.set(tensor, entry);
    homes.set(tensor, shard);
  }
  const [first] = shards.values();
  return {
    name,
    metadata: first?.metadata ?? {},
    tensors,
    async readTensor(tensor) {
      const home = homes.get(tensor);
      if (home) return home.readTensor(tensor);
      throw new FormatError(
        `${name}: tensor ${JSON.stringify(tensor)} is missing`,
        'E_SAFETENSORS',
      );
    },
  };
}

function weightMap(index: unknown, name: string): Map<string, string> {
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  const isMap = typeof map === 'object' && map !== null && !Array.isArray(map);
  if (!isMap || !Object.values(map).every((file) => typeof file === 'string')) {
    throw new FormatError(`${name}: weight_map is no object of file names`, 'E_SAFETENSORS');
  }
  return new Map(Object.entries(map as Record<string, string>));
}
