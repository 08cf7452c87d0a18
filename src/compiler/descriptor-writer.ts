/** Writes QMM descriptors into a growing buffer. */
import { DESCRIPTOR, DESCRIPTOR_BYTES } from '../device/contract.generated.js';
import { encodeQmm, type Qmm } from '../device/descriptor.js';

export class DescriptorWriter {
  #bytes = new Uint8Array(64 * DESCRIPTOR_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  push(qmm: Qmm): void {
    this.#reserve();
    encodeQmm(this.#view, this.#count * DESCRIPTOR_BYTES, qmm);
    this.#count++;
  }

  /** The last descriptor once more, with other places: a large batch has thousands that differ in nothing else. */
  again(aOff: number, bOff: number, oOff: number, table: number, k0: number, n0: number): void {
    this.#reserve();
    const at = this.#count * DESCRIPTOR_BYTES;
    const view = this.#view;
    this.#bytes.copyWithin(at, at - DESCRIPTOR_BYTES, at);
    view.setUint8(at + DESCRIPTOR.k0.offset, k0);
    view.setUint8(at + DESCRIPTOR.n0.offset, n0);
    view.setUint32(at + DESCRIPTOR.a_off.offset, aOff, true);
    view.setUint32(at + DESCRIPTOR.b_off.offset, bOff, true);
    view.setUint32(at + DESCRIPTOR.o_off.offset, oOff, true);
    view.setUint32(at + DESCRIPTOR.e_off.offset, table, true);
    this.#count++;
  }

  /** The descriptors written so far, without spare room. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#count * DESCRIPTOR_BYTES);
  }

  #reserve(): void {
    if ((this.#count + 1) * DESCRIPTOR_BYTES <= this.#bytes.byteLength) return;
    const bytes = new Uint8Array(this.#bytes.byteLength * 2);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
