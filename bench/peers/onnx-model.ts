// ONNX files of one graph, written by hand: a model of a few nodes needs six messages of the format.
// Numbers of fields are those of onnx/onnx.proto, version 3 of the protobuf wire: a tag is
// (field << 3) | kind, kind 0 a varint, 2 bytes behind their length, 5 four bytes.

type Part = number[] | Uint8Array;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

function joined(parts: readonly Part[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const whole = (field: number, value: number): Part => varint(field * 8).concat(varint(value));
const bytes = (field: number, value: Uint8Array): Uint8Array =>
  joined([varint(field * 8 + 2), varint(value.length), value]);
const text = (field: number, value: string) => bytes(field, new TextEncoder().encode(value));
const message = (field: number, parts: readonly Part[]) => bytes(field, joined(parts));

/** TensorProto.DataType of what we store. */
const ELEMENTS = { float32: 1, uint8: 2, int8: 3, int32: 6 } as const;

/** Elements of a tensor of a graph. */
export type Element = keyof typeof ELEMENTS;

/** A constant of a graph. */
export interface Constant {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data: Float32Array | Uint8Array | Int8Array;
}

/** An operation of a graph; attributes are whole numbers. */
export interface Node {
  readonly op: string;
  /** Empty for ONNX's own operations. */
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, number>>;
}

/** A value that goes in or comes out. */
export interface Port {
  readonly name: string;
  readonly element: Element;
  readonly dims: readonly number[];
}

/** A graph of nodes in the order in which they run. */
export interface Graph {
  readonly nodes: readonly Node[];
  readonly constants: readonly Constant[];
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
}

function elementOf(data: Constant['data']): Element {
  if (data instanceof Float32Array) return 'float32';
  return data instanceof Int8Array ? 'int8' : 'uint8';
}

function port(field: number, { name, element, dims }: Port): Uint8Array {
  const shape = message(
    2,
    dims.map((length) => message(1, [whole(1, length)])),
  );
  const tensor = message(1, [whole(1, ELEMENTS[element]), shape]);
  return message(field, [text(1, name), message(2, [tensor])]);
}

/** AttributeProto.AttributeType INT. */
const INT = 2;

function node({ op, domain = '', inputs, outputs, attributes = {} }: Node): Uint8Array {
  return message(1, [
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      message(5, [text(1, name), whole(3, value), whole(20, INT)]),
    ),
    text(7, domain),
  ]);
}

function constant({ name, dims, data }: Constant): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(5, [
    ...dims.map((length) => whole(1, length)),
    whole(2, ELEMENTS[elementOf(data)]),
    text(8, name),
    bytes(9, raw),
  ]);
}

/** IR 10 and opset 21, which all versions of the runtime since 1.18 know. */
const [IR_VERSION, OPSET] = [10, 21];

/** The file of a graph, which may use ONNX's operations and `com.microsoft`'s. */
export function onnxModel({ nodes, constants, inputs, outputs }: Graph): Uint8Array {
  return joined([
    whole(1, IR_VERSION),
    message(7, [
      ...nodes.map(node),
      text(2, 'bench'),
      ...constants.map(constant),
      ...inputs.map((one) => port(11, one)),
      ...outputs.map((one) => port(12, one)),
    ]),
    message(8, [text(1, ''), whole(2, OPSET)]),
    message(8, [text(1, 'com.microsoft'), whole(2, 1)]),
  ]);
}
