/** What Node has of `mobillm/platform`: files and their hashes, files written whole, processes, threads. */

export { isRunning } from './node-process.ts';
export {
  cacheDir,
  fileByteSource,
  fileError,
  listFiles,
  readText,
  sha256Bytes,
  sha256File,
  sha256Hasher,
} from './node-read.ts';
export { keepHeapsSmall, parentPort, spawnWorker } from './node-threads.ts';
export {
  checkWritable,
  moveFileAtomic,
  temporaryBeside,
  writeFileAtomic,
  writeFolderAtomic,
} from './node-write.ts';
