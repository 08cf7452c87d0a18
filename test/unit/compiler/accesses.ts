/**
 * Which bytes of the window a descriptor or a vector step touches, written from the contract (sections 3 and 4) and from
 * native/vector/steps.yaml alone.
 */
import { FOUND_BYTES, STEP, STEP_BYTES, STEP_QUANTISER } from '../../../src/native/steps.generated.js';
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

/** A producer with the records behind it. */
export interface StepGroup {
  readonly producer: StepRecord;
  readonly terms: readonly StepRecord[];
  readonly consumers: readonly StepRecord[];
  /** Records of all of them. */
  readonly count: number;
}

/** The group that begins at record `index`; throws where a record is not one that may stand in its place. */
export function readGroup(records: Uint8Array, index: number): StepGroup {
  const producer = readStep(records, index);
  if (['QUANTISE', 'TERM', 'TABLE', 'VALUE'].includes(producer.name))
    throw new Error(`record ${index}: a ${producer.name} record without a producer`);
  const { terms = 0, consumers = 0 } = producer.fields;
  const below = producer.name === 'EMBED' ? 'TABLE' : producer.name === 'SOFTMAX' ? 'VALUE' : 'TERM';
  const behind = (first: number, count: number, name: StepName) =>
    Array.from({ length: count }, (_, i) => {
      const record = readStep(records, first + i);
      if (record.name !== name)
        throw new Error(`record ${first + i}: ${record.name} where ${name} is announced`);
      return record;
    });
  return {
    producer,
    terms: behind(index + 1, terms, below),
    consumers: behind(index + 1 + terms, consumers, 'QUANTISE'),
    count: 1 + terms + consumers,
  };
}

/** Every group of a program. */
export function readGroups(records: Uint8Array): StepGroup[] {
  const groups: StepGroup[] = [];
  for (let index = 0; index * STEP_BYTES < records.byteLength; ) {
    const group = readGroup(records, index);
    groups.push(group);
    index += group.count;
  }
  return groups;
}

/** What a producer touches with the records behind it. */
export interface StepAccesses {
  readonly reads: readonly Span[];
  /** Working space: written, then read by the same step. */
  readonly space: readonly Span[];
  /** Planes with their padding, of which `reads` has only what counts. */
  readonly touches: readonly Span[];
  /** Float rows; allowed to replace the rows that are read. */
  readonly out: readonly Span[];
  /** Planes of the consumers; never among what is read. */
  readonly planes: readonly Span[];
  /** Steps and offsets that the consumers find, and sums of their rows; never among what is read. */
  readonly found: readonly Span[];
}

/** An array behind an address field; nothing where it is absent. */
const array = (off: number, count: number, size: number): Span[] => (off === 0 ? [] : [[off, count * size]]);

/** Found entries from sequence `first` on; nothing where they are absent. */
const entries = (off: number, first: number, count: number): Span[] =>
  off === 0 ? [] : [[off + first * FOUND_BYTES, count * FOUND_BYTES]];

/** Rows, columns and sequences of what a producer hands to its consumers. */
function shapeOf(
  { name, fields: s }: StepRecord,
  value: StepRecord | undefined,
): { lines: number; width: number; sequences: number } {
  if (value) return { lines: s.tokens!, width: value.fields.width!, sequences: 1 };
  if (name === 'SOFTMAX') return { lines: s.heads! * s.tokens!, width: s.tokens!, sequences: 1 };
  return { lines: s.rows!, width: s.width!, sequences: s.sequences ?? 0 };
}

/** Values of an index array in the window, as the host writes them. */
export type Indices = (off: number, count: number) => readonly number[];

/** The rows that a record computes, and the sequences that have some of them. */
interface Part {
  readonly first: number;
  readonly count: number;
  readonly firstSequence: number;
  readonly sequences: number;
}

function partOf({ fields: s }: StepRecord, { lines, sequences }: Shape, indices: Indices): Part {
  const first = s.first_row ?? 0;
  const end = s.end_row || lines;
  const whole = { first, count: end - first, firstSequence: 0, sequences };
  if (!s.starts_off || (first === 0 && end === lines)) return whole;
  const starts = indices(s.starts_off, sequences + 1);
  const inside = Array.from({ length: sequences }, (_, i) => i).filter(
    (i) => starts[i]! < end && starts[i + 1]! > first,
  );
  return { ...whole, firstSequence: inside[0]!, sequences: inside.length };
}

/** What one TERM reads. */
function termReads(
  { fields: t }: StepRecord,
  { lines, width }: Shape,
  { first, count, firstSequence, sequences }: Part,
  byRow: boolean,
): Span[] {
  const channels = byRow ? lines : width;
  const reads: Span[] = [];
  const bytes = t.acc_int16 ? 2 : 4;
  for (let block = 0; block < width / t.block!; block++) {
    const off = t.acc_off! + block * t.block_stride! + first * t.acc_stride!;
    reads.push(...rows(off, t.acc_stride!, count, t.block! * bytes));
  }
  reads.push(...array(t.scale_off!, channels, 8));
  reads.push(
    ...entries(t.found_a_off!, firstSequence, sequences),
    ...entries(t.found_b_off!, firstSequence, sequences),
  );
  if (t.sums_stride)
    reads.push(...rows(t.sums_off! + firstSequence * t.sums_stride, t.sums_stride, sequences, width * 4));
  else reads.push(...array(t.sums_off!, channels, 8));
  if (t.row_sums_off)
    reads.push(...rows(t.row_sums_off + first * 8, t.row_sums_stride!, width / t.block!, count * 8));
  return reads;
}

type Shape = ReturnType<typeof shapeOf>;

/** What a VALUE reads, and where it unpacks it. */
function valueReads({ fields: t }: StepRecord, tokens: number): Span[] {
  return [
    ...elements(t.off!, t.stride!, t.width!, 0, tokens, 2 ** (t.format! & 7)),
    ...array(t.found_off!, 1, FOUND_BYTES),
  ];
}

/** The rows of planes that a VALUE reads from. */
function valueRows({ fields: t }: StepRecord, tokens: number): Span[] {
  return rows(t.off!, t.stride!, t.width!, Math.ceil(tokens / 128) * 16 * 2 ** (t.format! & 7));
}

/** Rows of scores that a SOFTMAX reads: its own, or with a VALUE behind it the same ones of every head. */
function scoreRows(
  s: Readonly<Record<string, number>>,
  { first, count }: Part,
  ofEveryHead: boolean,
): number[] {
  const own = Array.from({ length: count }, (_, i) => first + i);
  if (!ofEveryHead) return own;
  return Array.from({ length: s.heads! }, (_, head) => own.map((row) => head * s.tokens! + row)).flat();
}

/** What a group touches. */
export function stepAccesses({ producer, terms, consumers }: StepGroup, indices: Indices): StepAccesses {
  const { name, fields: s } = producer;
  const value = terms.find((term) => term.name === 'VALUE');
  const shape = shapeOf(producer, value);
  const { lines, width, sequences } = shape;
  const part = partOf(producer, shape, indices);
  const field = (key: string, count: number, size: number) => array(s[key]!, count, size);
  /** An array with `width` elements of `size` bytes, or one, for each row. */
  const rowsField = (key: string, columns: number, size: number): Span[] =>
    s[key] === 0 ? [] : [[s[key]! + part.first * columns * size, part.count * columns * size]];
  const starts = () => field('starts_off', sequences + 1, 4);
  const norm = () => [...field('gamma_off', width, 4), ...field('beta_off', width, 4)];
  const reads: Span[] = terms.flatMap((term) => {
    if (term.name === 'VALUE') return valueReads(term, s.tokens!);
    if (term.name === 'TERM') return termReads(term, shape, part, s.by_row === 1);
    const { word_off, word_stride, word_scale_off } = term.fields;
    return [...array(word_off!, s.words!, word_stride!), ...array(word_scale_off!, s.words!, 8)];
  });
  let out = name === 'SOFTMAX' ? [] : rowsField('out_off', width, 4);
  switch (name) {
    case 'EMBED':
      for (const key of ['ids_off', 'positions_off', 'types_off']) reads.push(...rowsField(key, 1, 4));
      reads.push(
        ...field('position_off', s.positions! * width, 4),
        ...field('type_off', s.types! * width, 4),
      );
      reads.push(...starts(), ...norm());
      break;
    case 'AFFINE':
      reads.push(...starts(), ...field('bias_off', s.by_row ? lines : width, 4));
      break;
    case 'NORM':
      reads.push(
        ...starts(),
        ...field('bias_off', width, 4),
        ...rowsField('residual_off', width, 4),
        ...norm(),
      );
      break;
    case 'SOFTMAX':
      for (const row of scoreRows(s, part, value !== undefined))
        reads.push([s.acc_off! + row * s.acc_stride!, s.tokens! * (s.acc_int16 ? 2 : 4)]);
      reads.push(...field('table_off', s.table_length!, 8));
      reads.push(...field('found_a_off', 1, FOUND_BYTES), ...field('found_b_off', 1, FOUND_BYTES));
      if (s.key_sums_off) {
        const heads = new Set(
          scoreRows(s, part, value !== undefined).map((row) => Math.floor(row / s.tokens!)),
        );
        for (const head of heads) reads.push([s.key_sums_off + head * s.key_sums_stride!, s.tokens! * 4]);
      }
      break;
    case 'PICK':
      reads.push(...starts(), ...field('index_off', lines, 4), ...field('x_off', s.x_rows! * width, 4));
      break;
    case 'DENSE':
      reads.push(...field('x_off', lines * width, 4), ...field('weight_off', s.out_width! * width, 4));
      reads.push(...field('bias_off', s.out_width!, 4));
      out = field('out_off', lines * s.out_width!, 4);
      break;
    default:
      throw new Error(`a ${name} record without a producer`);
  }
  const planes: Span[] = [];
  const found: Span[] = [];
  for (const { fields: q } of consumers) {
    reads.push(...array(q.shift_off!, width, 4));
    planes.push(
      ...rows(
        q.out_off! + part.first * q.out_stride!,
        q.out_stride!,
        part.count,
        Math.ceil(width / 128) * 16 * 2 ** (q.format! & 7),
      ),
    );
    if (q.kind! >= STEP_QUANTISER.ROUND_FROM_MIN)
      found.push(...entries(q.found_off!, part.firstSequence, part.sequences));
    if (q.sums_off) {
      for (let row = part.first; row < part.first + part.count; row++)
        found.push([
          q.sums_off + Math.floor(row / q.sums_rows!) * q.sums_stride! + (row % q.sums_rows!) * 8,
          8,
        ]);
    }
  }
  const space = value ? array(value.fields.codes_off!, lines * width, 4) : [];
  const touches = value ? valueRows(value, s.tokens!) : [];
  return { reads, touches, space, out, planes, found };
}
