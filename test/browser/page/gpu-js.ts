/* gpu.js's build for browsers is a script that leaves one name behind; this makes it a module. */

const namespace = (globalThis as unknown as { GPU: object }).GPU;

export default namespace;
