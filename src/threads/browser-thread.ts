/** Entry of a thread of kernels in a browser. */
import { parentPort } from '../platform/browser.ts';
import { serveKernels } from '../tensor/backends/wasm/kernel-thread.ts';

serveKernels(parentPort());
