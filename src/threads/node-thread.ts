/** Entry of a thread of kernels in Node. */
import { parentPort } from '../platform/node.ts';
import { serveKernels } from '../tensor/backends/wasm/kernel-thread.ts';

serveKernels(parentPort());
