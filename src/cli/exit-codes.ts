import { FormatError, MobillmError, ProtocolError, UsageError } from '../tensor/errors.ts';

/** What the process says when it ends; explained to people in docs/errors.md. */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  data: 3,
  model: 4,
  connection: 5,
  disk: 6,
  /** 128 + SIGINT, as shells have it. */
  interrupted: 130,
} as const;

/** One of the exit codes. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Stable error codes and how the process ends; the same table stands in docs/errors.md. */
const BY_CODE: Readonly<Record<string, ExitCode>> = {
  E_SHAPE: EXIT.internal,
  E_DTYPE: EXIT.internal,
  E_DISPOSED: EXIT.internal,
  E_BACKEND: EXIT.internal,
  E_NON_FINITE: EXIT.internal,
  E_USAGE: EXIT.usage,
  E_MEMORY: EXIT.usage,
  E_NOT_FOUND: EXIT.usage,
  E_NO_ACCESS: EXIT.usage,
  E_FILE: EXIT.usage,
  E_DISK_FULL: EXIT.disk,
  E_TEMPLATE: EXIT.usage,
  E_RESUME: EXIT.usage,
  E_CONFIG: EXIT.usage,
  E_FORMAT: EXIT.data,
  E_DATA: EXIT.data,
  E_TRUNCATED: EXIT.model,
  E_GGUF_MAGIC: EXIT.model,
  E_GGUF_VERSION: EXIT.model,
  E_GGUF_TRUNCATED: EXIT.model,
  E_GGUF_METADATA: EXIT.model,
  E_GGUF_TENSOR: EXIT.model,
  E_GGUF_TYPE: EXIT.model,
  E_GGUF_LIMIT: EXIT.model,
  E_SAFETENSORS: EXIT.model,
  E_TOKENIZER: EXIT.model,
  E_CHAT_TEMPLATE: EXIT.model,
  E_MODEL: EXIT.model,
  E_MODEL_ARCHITECTURE: EXIT.model,
  E_ADAPTER: EXIT.model,
  E_PACKED: EXIT.model,
  E_MODEL_HASH: EXIT.model,
  E_MODEL_MISMATCH: EXIT.model,
  E_PROTOCOL: EXIT.connection,
  E_PROTOCOL_VERSION: EXIT.connection,
  E_FRAME_MAGIC: EXIT.connection,
  E_FRAME_FLAGS: EXIT.connection,
  E_FRAME_SIZE: EXIT.connection,
  E_FRAME_TRUNCATED: EXIT.connection,
  E_MESSAGE_TYPE: EXIT.connection,
  E_MESSAGE_FORMAT: EXIT.connection,
  E_TRACE: EXIT.connection,
  E_SERVER_UNREACHABLE: EXIT.connection,
  E_UNAUTHORIZED: EXIT.connection,
  E_LISTEN: EXIT.connection,
  E_SERVER: EXIT.connection,
  E_JOB: EXIT.connection,
  E_JOB_UNKNOWN: EXIT.connection,
  E_STATE: EXIT.connection,
  E_LM_HEAD: EXIT.connection,
  E_DIVERGED: EXIT.connection,
  E_CLOSED: EXIT.connection,
  E_IDLE_TIMEOUT: EXIT.connection,
  E_CANCELLED: EXIT.connection,
  E_OVERLOAD: EXIT.connection,
  E_CREDIT: EXIT.connection,
  E_FRAME_SEQUENCE: EXIT.connection,
  E_MESSAGE_DIRECTION: EXIT.connection,
  E_MESSAGE_STATE: EXIT.connection,
  E_FILE_ORDER: EXIT.connection,
  E_FILE_HASH: EXIT.connection,
  E_PULL: EXIT.connection,
};

/** Codes of the operating system, where a call failed that nobody translated. */
const BY_ERRNO: Readonly<Record<string, ExitCode>> = {
  ENOSPC: EXIT.disk,
  EDQUOT: EXIT.disk,
  EROFS: EXIT.disk,
  EIO: EXIT.disk,
  EFBIG: EXIT.disk,
  ENOENT: EXIT.usage,
  EACCES: EXIT.usage,
  EPERM: EXIT.usage,
  EISDIR: EXIT.usage,
  ENOTDIR: EXIT.usage,
  EADDRINUSE: EXIT.usage,
  EADDRNOTAVAIL: EXIT.usage,
  ECONNREFUSED: EXIT.connection,
  ECONNRESET: EXIT.connection,
  EHOSTUNREACH: EXIT.connection,
  ENETUNREACH: EXIT.connection,
  ENOTFOUND: EXIT.connection,
  EAI_AGAIN: EXIT.connection,
  ETIMEDOUT: EXIT.connection,
};

/**
 * How the process ends after `error`: by its stable code, else by its class, else by the code of
 * the operating system; of an error that only wraps another, by the other. 1 for all else.
 */
export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof Error)) return EXIT.internal;
  if (error.name === 'AbortError') return EXIT.interrupted;
  // Whatever code it carries: a server may pass on that its own disk is full.
  if (error instanceof ProtocolError) return EXIT.connection;
  const code = (error as Error & { code?: unknown }).code;
  if (typeof code === 'string') {
    if (Object.hasOwn(BY_CODE, code)) return BY_CODE[code];
    if (Object.hasOwn(BY_ERRNO, code)) return BY_ERRNO[code];
    if (code.startsWith('commander.')) return EXIT.usage;
  }
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof FormatError) return EXIT.data;
  if (error instanceof MobillmError) return EXIT.internal;
  return error.cause === undefined ? EXIT.internal : exitCodeOf(error.cause);
}
