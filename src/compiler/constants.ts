/** The constant tensors of a compiled model, little-endian bytes by name. */

type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array;

export class Constants {
  readonly tensors = new Map<string, Uint8Array>();

  /** Adds a tensor and returns its name. */
  add(name: string, values: Numbers): string {
    if (this.tensors.has(name)) throw new Error(`tensor ${name} is given twice`);
    this.tensors.set(name, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return name;
  }
}
