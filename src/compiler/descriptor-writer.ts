/** Writes QMM descriptors into a growing buffer. */
import { DESCRIPTOR_BYTES } from '../device/contract.generated.js';
import { encodeQmm, type Qmm } from '../device/descriptor.js';

export class DescriptorWriter {
  #bytes = new Uint8Array(64 * DESCRIPTOR_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  push(qmm: Qmm): void {
    if ((this.#count + 1) * DESCRIPTOR_BYTES > this.#bytes.byteLength) {
      const bytes = new Uint8Array(this.#bytes.byteLength * 2);
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    encodeQmm(this.#view, this.#count * DESCRIPTOR_BYTES, qmm);
    this.#count++;
  }

  /** The descriptors written so far, without spare room. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#count * DESCRIPTOR_BYTES);
  }
}
