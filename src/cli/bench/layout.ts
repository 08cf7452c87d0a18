/** Where the operands of a case lie: strides, sizes and descriptors, as the compiler's memory plan and writers have them. */
import { integerStride, operandStride } from '../../compiler/memory.js';
import { BLOCK_ELEMENTS, FLAG, TABLE_ENTRY_BYTES } from '../../device/contract.generated.js';
import { blockOffset, formatByte, type Qmm } from '../../device/descriptor.js';
import type { Case } from './cases.js';

type Operand = Qmm['a'];

/** Bytes of the operands that are activations, A before B. */
export function activationBytes(work: Case): number {
  const { role, m, n, heads } = work;
  const { a, b } = strides(work);
  if (role === 'linear') return m * a;
  if (role === 'value') return n * b;
  // Scores have every head in each row, P and V^T have rows for every head.
  return (m * a + n * b) * (role === 'scores' ? 1 : heads);
}

/** Bytes of the weights; attention has none. */
export function weightBytes(work: Case): number {
  const { role, m, n } = work;
  const { a, b } = strides(work);
  if (role === 'linear') return n * b;
  return role === 'value' ? m * a : 0;
}

/** Entries of the epilogue table: thresholds, identities for int16 results, none for int32. */
export function tableEntries({ role, m, n, heads, o }: Case): number {
  if (o.bits === 32) return 0;
  if (o.bits === 16) return n;
  return role === 'value' ? m : n * heads;
}

/** Bytes from one row of each operand to the next. */
function strides({ role, k, heads, a, b }: Case): { a: number; b: number } {
  const elements = role === 'scores' ? heads * k : k;
  return { a: operandStride(elements, formatByte(a)), b: operandStride(elements, formatByte(b)) };
}

/** Whether the heads of a result lie side by side in one row. */
const inPlace = ({ role, o }: Case) => role === 'context' && o.bits < 16;

function outputStride(work: Case): number {
  const { n, heads, o } = work;
  if (o.bits === 32 || o.bits === 16) return integerStride(n, o.bits);
  return operandStride(inPlace(work) ? n * heads : n, formatByte(o));
}

export function outputBytes(work: Case): number {
  return outputStride(work) * work.m * (inPlace(work) ? 1 : work.heads);
}

/**
 * The descriptors of one case: `activations`, `weights` and `output` are window offsets, `table` too where results are fewer than 32 bits.
 */
export function* products(
  work: Case,
  activations: number,
  weights: number,
  output: number,
  table: number | undefined,
): Generator<Qmm> {
  const { role, m, n, k, heads } = work;
  const stride = strides(work);
  const [aFormat, bFormat, oFormat] = [work.a, work.b, work.o].map(formatByte) as [number, number, number];
  const a = (off: number): Operand => ({ off, stride: stride.a, format: aFormat });
  const b = (off: number): Operand => ({ off, stride: stride.b, format: bFormat });
  const o = (off: number): Operand => ({ off, stride: outputStride(work), format: oFormat });
  const epilogue = table === undefined ? {} : { table };
  if (role === 'linear') {
    yield { a: a(activations), b: b(weights), o: o(output), m, n, k, ...epilogue };
  } else if (role === 'value') {
    const byRow = work.o.bits === 1 ? { flags: FLAG.TABLE_BY_ROW } : {};
    yield { a: a(weights), b: b(activations), o: o(output), m, n, k, ...epilogue, ...byRow };
  } else {
    for (let head = 0; head < heads; head++) yield role === 'scores' ? scores(head) : context(head);
  }

  /** One head inside rows of all heads, by offset and k0. */
  function scores(head: number): Qmm {
    return {
      a: a(activations + blockOffset(head * k, work.a.bits)),
      b: b(activations + m * stride.a + blockOffset(head * k, work.b.bits)),
      o: o(output + head * m * outputStride(work)),
      m,
      n,
      k,
      k0: (head * k) % BLOCK_ELEMENTS,
      ...epilogue,
    };
  }

  /** P of one head, and the rows of V^T that are its channels. */
  function context(head: number): Qmm {
    const column = head * n;
    const operands = {
      a: a(activations + head * m * stride.a),
      b: b(activations + heads * m * stride.a + column * stride.b),
      m,
      n,
      k,
    };
    if (!inPlace(work)) return { ...operands, o: o(output + head * m * outputStride(work)), ...epilogue };
    return {
      ...operands,
      o: o(output + blockOffset(column, work.o.bits)),
      n0: column % BLOCK_ELEMENTS,
      table: table! + column * TABLE_ENTRY_BYTES,
    };
  }
}
