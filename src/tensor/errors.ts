/**
 * Every error the project throws on purpose. `code` is stable and listed in docs/errors.md;
 * the command line turns the class into an exit code.
 */
export class MobillmError extends Error {
  /** Stable identifier, listed in docs/errors.md. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Shapes of operands do not fit together, or an axis is out of range. */
export class ShapeError extends MobillmError {
  constructor(message: string) {
    super('E_SHAPE', message);
  }
}

/** An operand has another element type than the operation takes. */
export class DTypeError extends MobillmError {
  constructor(message: string) {
    super('E_DTYPE', message);
  }
}

/** A tensor was used after its memory was given back. */
export class DisposedError extends MobillmError {
  constructor(message: string) {
    super('E_DISPOSED', message);
  }
}

/** A backend cannot do what was asked: missing kernel, out of memory, mixed backends. */
export class BackendError extends MobillmError {
  constructor(message: string, options?: ErrorOptions) {
    super('E_BACKEND', message, options);
  }
}

/** A file or buffer from outside is not what its format demands. */
export class FormatError extends MobillmError {
  constructor(message: string, code = 'E_FORMAT', options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** The other end of a connection broke the protocol, or refused. */
export class ProtocolError extends MobillmError {
  constructor(message: string, code = 'E_PROTOCOL', options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** What the person asked for cannot be done as asked: flags, paths, data. */
export class UsageError extends MobillmError {
  constructor(message: string, code = 'E_USAGE', options?: ErrorOptions) {
    super(code, message, options);
  }
}
