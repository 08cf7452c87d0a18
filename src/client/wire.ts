/** The wire contract (wire/contract.ts) with everything that belongs to it, for whoever speaks it. */
export * from './wire/codec.js';
export * from './wire/codes.js';
export * from './wire/contract.js';
export * from './wire/infer.js';
export * from './wire/names.js';
export * from './wire/node.js';
export * from './wire/tensors.js';
