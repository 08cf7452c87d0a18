/** A program that is ready to run on one device: loaded, with views of its inputs and outputs in the window, made once. */
import type { Program } from '../compiler/program.js';
import type { Device } from '../device/device.js';
import type { NativeProgram } from '../native/program.js';
import type { Sequence } from './inputs.js';

export class PreparedProgram {
  readonly native: NativeProgram;
  readonly #ids: Uint32Array;
  readonly #positions: Uint32Array;
  readonly #types: Uint32Array;
  readonly #indices: { readonly view: Uint32Array; readonly values: Uint32Array };
  readonly #outputs: Float32Array;
  /** Floats of one output row, and whether there is one for each token. */
  readonly #width: number;
  readonly #perToken: boolean;

  constructor(device: Device, program: Program) {
    this.native = device.load(program);
    const { buffer, byteOffset } = device.window;
    const { inputs, outputs } = program;
    const words = (off: number, count: number) => new Uint32Array(buffer, byteOffset + off, count);
    this.#ids = words(inputs.ids, inputs.rows);
    this.#positions = words(inputs.positions, inputs.rows);
    this.#types = words(inputs.types, inputs.rows);
    this.#indices = { view: words(inputs.indices, inputs.indexValues.length), values: inputs.indexValues };
    this.#outputs = new Float32Array(buffer, byteOffset + outputs.off, outputs.rows * outputs.width);
    this.#width = outputs.width;
    this.#perToken = outputs.perToken;
  }

  /** Gives its copy back. */
  free(): void {
    this.native.free();
  }

  /** Writes the sequences, whose lengths are those the program was built for, and the index arrays of its steps. */
  writeInputs(sequences: readonly Sequence[]): void {
    const ids = this.#ids;
    const positions = this.#positions;
    const types = this.#types;
    let row = 0;
    for (const sequence of sequences) {
      const { length } = sequence.ids;
      for (let i = 0; i < length; i++, row++) {
        ids[row] = sequence.ids[i]!;
        positions[row] = i;
        types[row] = sequence.types === undefined ? 0 : sequence.types[i]!;
      }
    }
    this.#indices.view.set(this.#indices.values);
  }

  /** What the head left for the sequences that writeInputs took, in their order: copies. */
  readOutputs(sequences: readonly Sequence[]): Float32Array[] {
    let at = 0;
    return sequences.map(({ ids }) => {
      const begin = at;
      at += (this.#perToken ? ids.length : 1) * this.#width;
      return this.#outputs.slice(begin, at);
    });
  }
}
