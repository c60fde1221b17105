/** A metadata value with its GGUF type; arrays hold values of one type. */
export type GgufField =
  | { type: 'uint8' | 'uint32' | 'int32' | 'float32'; value: number }
  | { type: 'uint64'; value: bigint }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'array'; items: GgufField[]; itemType?: number };

/** A tensor to write; what is left out is made to fit. */
export interface GgufTensorSpec {
  name: string;
  /** GGUF order: innermost first. */
  dims: (number | bigint)[];
  type: number;
  data: Uint8Array;
  /** Relative to the data section. */
  offset?: number | bigint;
}

/** A file to write; any part can be told to lie. */
export interface GgufSpec {
  magic?: number;
  version?: number;
  metadata?: [string, GgufField][];
  tensors?: GgufTensorSpec[];
  alignment?: number;
  tensorCount?: bigint;
  metadataCount?: bigint;
}

const TYPE_IDS = {
  uint8: 0,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
};

class Writer {
  readonly bytes: number[] = [];
  private scalar(length: number, set: (view: DataView) => void): void {
    const view = new DataView(new ArrayBuffer(length));
    set(view);
    this.bytes.push(...new Uint8Array(view.buffer));
  }
  u32(value: number): void {
    this.scalar(4, (view) => view.setUint32(0, value, true));
  }
  u64(value: number | bigint): void {
    this.scalar(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }
  string(text: string): void {
    const utf8 = new TextEncoder().encode(text);
    this.u64(utf8.length);
    this.bytes.push(...utf8);
  }
  field(field: GgufField): void {
    switch (field.type) {
      case 'uint8':
        this.scalar(1, (view) => view.setUint8(0, field.value));
        break;
      case 'uint32':
        this.u32(field.value);
        break;
      case 'int32':
        this.scalar(4, (view) => view.setInt32(0, field.value, true));
        break;
      case 'float32':
        this.scalar(4, (view) => view.setFloat32(0, field.value, true));
        break;
      case 'uint64':
        this.u64(field.value);
        break;
      case 'bool':
        this.scalar(1, (view) => view.setUint8(0, field.value ? 1 : 0));
        break;
      case 'string':
        this.string(field.value);
        break;
      case 'array':
        this.u32(field.itemType ?? TYPE_IDS[field.items[0]?.type ?? 'uint8']);
        this.u64(field.items.length);
        for (const item of field.items) this.field(item);
    }
  }
  pad(alignment: number): void {
    while (this.bytes.length % alignment !== 0) this.bytes.push(0);
  }
}

/** Writes a GGUF file: valid as it stands, and as wrong as `spec` asks for. */
export function writeGguf(spec: GgufSpec): Uint8Array {
  const { metadata = [], tensors = [], alignment = 32 } = spec;
  const writer = new Writer();
  writer.u32(spec.magic ?? 0x46554747);
  writer.u32(spec.version ?? 3);
  writer.u64(spec.tensorCount ?? tensors.length);
  writer.u64(spec.metadataCount ?? metadata.length);
  for (const [key, field] of metadata) {
    writer.string(key);
    writer.u32(TYPE_IDS[field.type]);
    writer.field(field);
  }
  let next = 0;
  for (const tensor of tensors) {
    writer.string(tensor.name);
    writer.u32(tensor.dims.length);
    for (const dim of tensor.dims) writer.u64(dim);
    writer.u32(tensor.type);
    writer.u64(tensor.offset ?? next);
    next = Math.ceil((next + tensor.data.length) / alignment) * alignment;
  }
  for (const tensor of tensors) {
    writer.pad(alignment);
    for (const byte of tensor.data) writer.bytes.push(byte);
  }
  return Uint8Array.from(writer.bytes);
}
