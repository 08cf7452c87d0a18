/**
 * Which bytes of the window a descriptor or a vector step touches, written from the contract (sections 3 and 4) and from
 * native/vector/steps.yaml alone.
 */
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import { extentsOf, readFields } from '../../oracle/qmm.js';

export type Span = readonly [off: number, bytes: number];

export interface Accesses {
  /** Bytes whose values the result depends on. */
  readonly needs: readonly Span[];
  /** Bytes that may be fetched: whole beats where only some of their elements count. Covers `needs`. */
  readonly touches: readonly Span[];
  readonly writes: readonly Span[];
}

/** The spans of `count` rows. */
function rows(off: number, stride: number, count: number, bytes: number): Span[] {
  return Array.from({ length: count }, (_, row) => [off + row * stride, bytes]);
}

/** The bytes that hold elements [first, first + count) of every row of bit-planes. */
function elements(
  off: number,
  stride: number,
  lines: number,
  first: number,
  count: number,
  bits: number,
): Span[] {
  const spans: Span[] = [];
  for (let row = 0; row < lines; row++) {
    for (let block = 0; block * 128 < first + count; block++) {
      const begin = Math.floor(Math.max(first - block * 128, 0) / 8);
      const end = Math.ceil(Math.min(first + count - block * 128, 128) / 8);
      for (let plane = 0; plane < bits; plane++) {
        spans.push([off + row * stride + (block * bits + plane) * 16 + begin, end - begin]);
      }
    }
  }
  return spans;
}

/** What a valid QMM descriptor touches. */
export function descriptorAccesses(descriptor: Uint8Array): Accesses {
  const d = readFields(descriptor);
  const [aBits, bBits, oBits] = [d.aFormat, d.bFormat, d.oFormat].map((format) => 2 ** (format & 7)) as [
    number,
    number,
    number,
  ];
  const blocks = Math.ceil((d.k0 + d.k) / 128) * 16;
  const { e } = extentsOf(d);
  const table: Span[] = e ? [[e[0], e[1] - e[0]]] : [];
  return {
    needs: [
      ...elements(d.aOff, d.aStride, d.m, d.k0, d.k, aBits),
      ...elements(d.bOff, d.bStride, d.n, d.k0, d.k, bBits),
      ...table,
    ],
    touches: [
      ...rows(d.aOff, d.aStride, d.m, blocks * aBits),
      ...rows(d.bOff, d.bStride, d.n, blocks * bBits),
      ...table,
    ],
    writes:
      oBits >= 16
        ? rows(d.oOff, d.oStride, d.m, d.n * (oBits / 8))
        : elements(d.oOff, d.oStride, d.m, d.n0, d.n, oBits),
  };
}

export type StepName = keyof typeof STEP;

/** A step record taken apart. */
export interface StepRecord {
  readonly name: StepName;
  readonly fields: Readonly<Record<string, number>>;
}

/** Record `index`; throws where its op is none. */
export function readStep(records: Uint8Array, index: number): StepRecord {
  const view = new DataView(records.buffer, records.byteOffset + index * STEP_BYTES, STEP_BYTES);
  const found = (Object.entries(STEP) as [StepName, (typeof STEP)[StepName]][]).find(
    ([, { op }]) => op === view.getUint8(0),
  );
  if (found === undefined) throw new Error(`record ${index}: no step has op ${view.getUint8(0)}`);
  const [name, { fields }] = found;
  const read = { u8: 'getUint8', u32: 'getUint32', i32: 'getInt32', f64: 'getFloat64' } as const;
  return {
    name,
    fields: Object.fromEntries(
      Object.entries(fields).map(([field, { offset, type }]) => [
        field,
        view[read[type as keyof typeof read]](offset, true),
      ]),
    ),
  };
}

/** What a producer touches with the QUANTISE records behind it. */
export interface StepAccesses {
  readonly reads: readonly Span[];
  /** Float rows; allowed to replace the rows that are read. */
  readonly out: readonly Span[];
  /** Planes and minima of the consumers; never among what is read. */
  readonly consumed: readonly Span[];
}

/** What a producer and its consumers touch. */
export function stepAccesses(
  { name, fields: s }: StepRecord,
  consumers: readonly StepRecord[],
): StepAccesses {
  const at = (field: string) => s[field]!;
  /** An array behind an address field; nothing where it is absent. */
  const array = (field: string, count: number, size: number): Span[] =>
    at(field) === 0 ? [] : [[at(field), count * size]];
  const width = name === 'SOFTMAX' ? at('tokens') : at('width');
  const lines = name === 'SOFTMAX' ? at('tokens') : at('rows');
  const heads = name === 'SOFTMAX' ? at('heads') : 1;
  const accumulators = () => rows(at('acc_off'), at('acc_stride'), lines, width * 4);
  const reads: Span[] = [];
  switch (name) {
    case 'EMBED':
      for (const field of ['ids_off', 'positions_off', 'types_off']) reads.push(...array(field, lines, 4));
      reads.push(
        ...array('word_off', at('words'), at('word_stride')),
        ...array('word_scale_off', at('words'), 8),
      );
      reads.push(
        ...array('position_off', at('positions') * width, 4),
        ...array('type_off', at('types') * width, 4),
      );
      reads.push(...array('gamma_off', width, 4), ...array('beta_off', width, 4));
      break;
    case 'AFFINE': {
      const channels = at('by_row') ? lines : width;
      for (let block = 0; block < width / at('block'); block++) {
        reads.push(
          ...rows(at('acc_off') + block * at('block_stride'), at('acc_stride'), lines, at('block') * 4),
        );
      }
      reads.push(...array('scale_off', channels, 8), ...array('bias_off', channels, 4));
      reads.push(...array('starts_off', at('sequences') + 1, 4), ...array('t_off', at('sequences'), 8));
      if (at('sums_stride'))
        reads.push(...rows(at('sums_off'), at('sums_stride'), at('sequences'), width * 4));
      else reads.push(...array('sums_off', width, 8));
      break;
    }
    case 'NORM':
      reads.push(...accumulators(), ...array('scale_off', width, 8), ...array('bias_off', width, 4));
      reads.push(
        ...array('starts_off', at('sequences') + 1, 4),
        ...array('t_off', at('sequences'), 8),
        ...array('sums_off', width, 8),
      );
      reads.push(
        ...array('residual_off', lines * width, 4),
        ...array('gamma_off', width, 4),
        ...array('beta_off', width, 4),
      );
      break;
    case 'SOFTMAX':
      for (let head = 0; head < heads; head++) {
        reads.push(...rows(at('acc_off') + head * at('head_stride'), at('acc_stride'), lines, width * 4));
      }
      reads.push(...array('table_off', at('table_length'), 8));
      break;
    case 'DENSE':
      reads.push(
        ...array('x_off', lines * width, 4),
        ...array('weight_off', at('out_width') * width, 4),
        ...array('bias_off', at('out_width'), 4),
      );
      return { reads, out: array('out_off', lines * at('out_width'), 4), consumed: [] };
    case 'QUANTISE':
      throw new Error('a QUANTISE record without a producer');
  }
  const consumed: Span[] = [];
  for (const { fields: q } of consumers) {
    if (q.shift_off) reads.push([q.shift_off, width * 4]);
    const bytes = Math.ceil((q.k0! + width) / 128) * 16 * 2 ** (q.format! & 7);
    for (let head = 0; head < heads; head++)
      consumed.push(...rows(q.out_off! + head * q.out_head_stride!, q.out_stride!, lines, bytes));
    if (q.kind === 2) consumed.push([q.found_off!, (name === 'SOFTMAX' ? 1 : at('sequences')) * 8]);
  }
  return { reads, out: name === 'SOFTMAX' ? [] : array('out_off', lines * width, 4), consumed };
}
