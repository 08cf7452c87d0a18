/** --geometry: which engine a prediction is for. */
import { InvalidArgumentError } from 'commander';
import { parseArrayGeometry } from '../compiler/array-geometry.js';
import type { CostModel } from '../compiler/cost.js';

/** The engine that the paper's array suggests, beside four slow cores. */
export const DEFAULT_GEOMETRY = '8x8x128@200MHz';

export function geometryOption(text: string): CostModel {
  const model = parseArrayGeometry(text);
  if (model === null) {
    throw new InvalidArgumentError(
      `It must be DmxDnxDk, with Dk a multiple of 64, optionally xLANES and @CLOCK, as in ${DEFAULT_GEOMETRY} or 16x8x256x64@250MHz.`,
    );
  }
  return model;
}

/** Window offsets for a program that runs nowhere: tensors one after another, then the arena. */
export function imaginaryWindow(tensors: ReadonlyMap<string, { readonly off: number }>, dataBytes: number) {
  const base = 0x10000;
  return {
    address: (name: string) => base + tensors.get(name)!.off,
    arena: base + Math.ceil(dataBytes / 4096) * 4096,
  };
}
