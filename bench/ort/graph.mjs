/**
 * An ONNX graph under construction: nodes in order, constants as initializers. Weights are random, because a matrix product takes the
 * same time whatever it multiplies.
 */
import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;
const TYPE = onnx.TensorProto.DataType;
const OPSET = 17;
const CONTRIB = 'com.microsoft';

/** As many random values in [0, 1) as all weights are taken from, in turn; odd, so that rows do not repeat one another. */
const POOL = 1_048_573;

/** xorshift32: the same weights in every run. */
function randomPool(seed) {
  let state = seed | 1;
  return Float32Array.from({ length: POOL }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 8) / 2 ** 24;
  });
}

const values = randomPool(20240111);

const attribute = (name, value) => {
  if (typeof value === 'string')
    return { name, type: onnx.AttributeProto.AttributeType.STRING, s: Buffer.from(value) };
  if (Array.isArray(value)) return { name, type: onnx.AttributeProto.AttributeType.INTS, ints: value };
  if (Number.isInteger(value)) return { name, type: onnx.AttributeProto.AttributeType.INT, i: value };
  return { name, type: onnx.AttributeProto.AttributeType.FLOAT, f: value };
};

export class Graph {
  #nodes = [];
  #initializers = [];
  #inputs = [];
  #outputs = [];
  #names = 0;
  #drawn = 0;

  #name(prefix) {
    return `${prefix}_${this.#names++}`;
  }

  #constant(prefix, dataType, dims, bytes) {
    const name = this.#name(prefix);
    this.#initializers.push({ name, dataType, dims, rawData: bytes });
    return name;
  }

  #next() {
    this.#drawn = this.#drawn + 1 < POOL ? this.#drawn + 1 : 0;
    return values[this.#drawn];
  }

  floats(dims, numbers) {
    const data = Float32Array.from(numbers);
    return this.#constant('f', TYPE.FLOAT, dims, new Uint8Array(data.buffer));
  }

  longs(dims, numbers) {
    const data = BigInt64Array.from(numbers, BigInt);
    return this.#constant('i', TYPE.INT64, dims, new Uint8Array(data.buffer));
  }

  /** Random float32, uniform in [-scale, scale] around `mean`. */
  randomFloats(dims, scale, mean = 0) {
    const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) data[i] = mean + scale * (2 * this.#next() - 1);
    return this.#constant('w', TYPE.FLOAT, dims, new Uint8Array(data.buffer));
  }

  /** Random int8, all of its range but -128. */
  randomBytes(dims) {
    const data = new Int8Array(dims.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) data[i] = Math.floor(this.#next() * 255) - 127;
    return this.#constant('q', TYPE.INT8, dims, new Uint8Array(data.buffer));
  }

  bytes(dims, numbers) {
    return this.#constant('z', TYPE.INT8, dims, new Uint8Array(Int8Array.from(numbers).buffer));
  }

  input(name, dims) {
    this.#inputs.push({ name, type: { tensorType: { elemType: TYPE.INT64, shape: shape(dims) } } });
    return name;
  }

  /** Adds a node and returns its first output; `outputs` of them. */
  node(opType, input, attributes = {}, { contrib = false, outputs = 1 } = {}) {
    const output = Array.from({ length: outputs }, () => this.#name(opType));
    this.#nodes.push({
      opType,
      input,
      output,
      name: output[0],
      domain: contrib ? CONTRIB : '',
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
    return outputs === 1 ? output[0] : output;
  }

  contrib(opType, input, attributes = {}, outputs = 1) {
    return this.node(opType, input, attributes, { contrib: true, outputs });
  }

  output(name, dims) {
    this.#outputs.push({ name, type: { tensorType: { elemType: TYPE.FLOAT, shape: shape(dims) } } });
  }

  /** The model file's bytes. */
  encode() {
    return onnx.ModelProto.encode({
      irVersion: 8,
      opsetImport: [
        { domain: '', version: OPSET },
        { domain: CONTRIB, version: 1 },
      ],
      graph: {
        name: 'bert',
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs,
        output: this.#outputs,
      },
    }).finish();
  }
}

const shape = (dims) => ({ dim: dims.map((dimValue) => ({ dimValue })) });
