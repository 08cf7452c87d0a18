/** Writes vector step records (native/vector/steps.yaml) into a growing buffer. */
import { STEP, STEP_BYTES } from '../native/steps.generated.js';

type StepName = keyof typeof STEP;

/** The fields of one step by name; what is left out is 0, which for an address means absent. */
export type StepFields<Name extends StepName> = {
  readonly [Field in keyof (typeof STEP)[Name]['fields']]?: number;
};

export class StepWriter {
  #bytes = new Uint8Array(64 * STEP_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  push<Name extends StepName>(name: Name, fields: StepFields<Name>): void {
    const at = this.#count * STEP_BYTES;
    if (at + STEP_BYTES > this.#bytes.byteLength) this.#grow();
    const view = this.#view;
    const layout = STEP[name].fields as Record<
      string,
      { offset: number; type: 'u8' | 'u32' | 'i32' | 'f64' }
    >;
    view.setUint8(at, STEP[name].op);
    for (const key in fields) {
      const { offset, type } = layout[key]!;
      const value = (fields as Record<string, number>)[key]!;
      if (type === 'u32') view.setUint32(at + offset, value, true);
      else if (type === 'f64') view.setFloat64(at + offset, value, true);
      else if (type === 'u8') view.setUint8(at + offset, value);
      else view.setInt32(at + offset, value, true);
    }
    this.#count++;
  }

  /** The records written so far, without spare room. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#count * STEP_BYTES);
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.byteLength * 2);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
