// Generated from native/vector/steps.yaml by "npm run contract". Do not edit.

/** bytes of one record */
export const STEP_BYTES = 128;
/** TERM, TABLE or VALUE records of one producer: the branches of a layer */
export const STEP_TERMS_MAX = 2;
/** QUANTISE records of one producer */
export const STEP_CONSUMERS_MAX = 8;
/** largest row width or sequence length of a step */
export const STEP_WIDTH_MAX = 32768;
/** bytes of one entry of a found array */
export const FOUND_BYTES = 16;
/** u32 words of one operation of a program: the kind, then its arguments */
export const OPERATION_WORDS = 4;

/** step_activation */
export const STEP_ACTIVATION = {
  /** identity */
  IDENTITY: 0,
  /** relu */
  RELU: 1,
  /** gelu */
  GELU: 2,
  /** tanh */
  TANH: 3,
} as const;

/** step_quantiser */
export const STEP_QUANTISER = {
  /** +1, 0, -1; in format PM1 a zero becomes +1 */
  SIGN: 0,
  /** clip(rne(x / step), qmin, qmax) */
  ROUND: 1,
  /** clip(rne((x - t) / step), qmin, qmax), t the minimum over the sequence */
  ROUND_FROM_MIN: 2,
  /** rne(c * qmax / M), c = x clipped, M the largest |c| of the sequence; step = M / qmax */
  SYMMETRIC: 3,
  /** rne((c - t) / a * qmax), c = x clipped, t the smallest c, a = largest - t + 1e-8; step = a / qmax */
  ASYMMETRIC: 4,
} as const;

/** operation */
export const OPERATION = {
  /** first, count: hands the next descriptors to the engine */
  SUBMIT: 1,
  /** count: until the first count descriptors of the program are complete */
  WAIT: 2,
  /** first, count: runs step records; the steps among them do not depend on one another */
  VECTOR: 3,
  /** off, bytes: the engine reads next what the CPU wrote */
  SYNC_FOR_DEVICE: 4,
  /** off, bytes: the CPU reads next what the engine wrote */
  SYNC_FOR_CPU: 5,
} as const;

/** Field types of a record. */
export type StepFieldType = 'u8' | 'u32' | 'i32' | 'f64';

/** Every step: op code, and offset and type of each field. */
export const STEP = {
  /** Quantise the rows of a producer and pack them into bit-planes. */
  QUANTISE: {
    op: 1,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** operand format byte (contract) */
      format: { offset: 0x03, type: 'u8' },
      /** step_quantiser */
      kind: { offset: 0x04, type: 'u8' },
      /** smallest code */
      qmin: { offset: 0x08, type: 'i32' },
      /** largest code */
      qmax: { offset: 0x0C, type: 'i32' },
      /** step size, > 0; not read where it is found at run time */
      step: { offset: 0x10, type: 'f64' },
      /** lower bound of c for SYMMETRIC and ASYMMETRIC */
      clip_low: { offset: 0x18, type: 'f64' },
      /** upper bound of c */
      clip_high: { offset: 0x20, type: 'f64' },
      /** f32[width] added before quantising (move), or 0 */
      shift_off: { offset: 0x28, type: 'u32' },
      /** planes, row 0 */
      out_off: { offset: 0x2C, type: 'u32' },
      /** bytes from one row to the next */
      out_stride: { offset: 0x30, type: 'u32' },
      /** found[sequences] that kinds 2 to 4 write */
      found_off: { offset: 0x34, type: 'u32' },
      /** f64 sum of the real values of the codes of each row, for an operand with an offset to be multiplied by; or 0 */
      sums_off: { offset: 0x38, type: 'u32' },
      /** rows of one block of sums (one attention head) */
      sums_rows: { offset: 0x3C, type: 'u32' },
      /** bytes from one block of sums to the next */
      sums_stride: { offset: 0x40, type: 'u32' },
    },
  },
  /** Integers of a producer: adds s*D + t*sums_scale*sums + u*row_sums, s = scale * step of found_a * step of found_b, t that of found_a times the step of found_b, u that of found_b. */
  TERM: {
    op: 2,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** 1: the accumulators are int16; 0: int32 */
      acc_int16: { offset: 0x03, type: 'u8' },
      /** accumulators D */
      acc_off: { offset: 0x04, type: 'u32' },
      /** bytes from one row to the next inside a block */
      acc_stride: { offset: 0x08, type: 'u32' },
      /** columns of one block (one attention head), the width if there is one block */
      block: { offset: 0x0C, type: 'u32' },
      /** bytes from one block to the next */
      block_stride: { offset: 0x10, type: 'u32' },
      /** f64[width, or rows if by_row] scales, or 0 for the scalar */
      scale_off: { offset: 0x14, type: 'u32' },
      /** scale when scale_off is 0 */
      scale: { offset: 0x18, type: 'f64' },
      /** found[sequences] of the activation codes, or 0 */
      found_a_off: { offset: 0x20, type: 'u32' },
      /** found[sequences] of the other operand, or 0 */
      found_b_off: { offset: 0x24, type: 'u32' },
      /** sums that t multiplies: f64[width, or rows if by_row], or i32[sequences][width] where sums_stride > 0; 0 where t is 0 */
      sums_off: { offset: 0x28, type: 'u32' },
      /** bytes from one sequence to the next, 0 for f64 sums */
      sums_stride: { offset: 0x2C, type: 'u32' },
      /** factor of t*sums */
      sums_scale: { offset: 0x30, type: 'f64' },
      /** f64[blocks][rows] sums of the real values of the rows of the first operand, that u multiplies; 0 where u is 0 */
      row_sums_off: { offset: 0x38, type: 'u32' },
      /** bytes from one block of row sums to the next */
      row_sums_stride: { offset: 0x3C, type: 'u32' },
    },
  },
  /** One word table of an embedding. */
  TABLE: {
    op: 3,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** word table, bit-planes */
      word_off: { offset: 0x04, type: 'u32' },
      /** bytes of one word row */
      word_stride: { offset: 0x08, type: 'u32' },
      /** operand format byte: PM1, or S 2 bits where a code is 0 */
      word_format: { offset: 0x0C, type: 'u32' },
      /** f64[words] scale of each row */
      word_scale_off: { offset: 0x10, type: 'u32' },
    },
  },
  /** Sum of word (over the tables), position and token-type embeddings, then LayerNorm. */
  EMBED: {
    op: 4,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** tokens */
      rows: { offset: 0x04, type: 'u32' },
      /** hidden size */
      width: { offset: 0x08, type: 'u32' },
      /** u32[sequences+1] first row of each sequence */
      starts_off: { offset: 0x0C, type: 'u32' },
      /** sequences in the rows */
      sequences: { offset: 0x10, type: 'u32' },
      /** u32[rows] word ids */
      ids_off: { offset: 0x14, type: 'u32' },
      /** u32[rows] positions */
      positions_off: { offset: 0x18, type: 'u32' },
      /** u32[rows] token types */
      types_off: { offset: 0x1C, type: 'u32' },
      /** f32[positions][width] */
      position_off: { offset: 0x20, type: 'u32' },
      /** f32[types][width] */
      type_off: { offset: 0x24, type: 'u32' },
      /** rows of each word table */
      words: { offset: 0x28, type: 'u32' },
      /** rows of the position table */
      positions: { offset: 0x2C, type: 'u32' },
      /** rows of the type table */
      types: { offset: 0x30, type: 'u32' },
      /** f32[width] */
      gamma_off: { offset: 0x34, type: 'u32' },
      /** LayerNorm epsilon */
      epsilon: { offset: 0x38, type: 'f64' },
      /** f32[width] */
      beta_off: { offset: 0x40, type: 'u32' },
      /** f32[rows][width] normalised rows */
      out_off: { offset: 0x44, type: 'u32' },
      /** first row that this record computes */
      first_row: { offset: 0x48, type: 'u32' },
      /** the row behind the last that it computes; 0: all from first_row on */
      end_row: { offset: 0x4C, type: 'u32' },
    },
  },
  /** Integer result to real value, y = activation(terms + bias), the merged epilogue (QUANTIZERS 4); optional float output and quantisers. */
  AFFINE: {
    op: 5,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** step_activation */
      activation: { offset: 0x03, type: 'u8' },
      /** rows of D */
      rows: { offset: 0x04, type: 'u32' },
      /** columns of D in all blocks together */
      width: { offset: 0x08, type: 'u32' },
      /** u32[sequences+1] first row of each sequence, or 0 for one */
      starts_off: { offset: 0x0C, type: 'u32' },
      /** sequences in the rows; 1 where starts_off is 0 */
      sequences: { offset: 0x10, type: 'u32' },
      /** 1: scale, bias and sums are indexed by row (a transposed product) */
      by_row: { offset: 0x14, type: 'u32' },
      /** f32[width or rows], or 0 */
      bias_off: { offset: 0x18, type: 'u32' },
      /** f32[rows][width], or 0 */
      out_off: { offset: 0x1C, type: 'u32' },
      /** first row that this record computes */
      first_row: { offset: 0x48, type: 'u32' },
      /** the row behind the last that it computes; 0: all from first_row on */
      end_row: { offset: 0x4C, type: 'u32' },
    },
  },
  /** Linear epilogue, residual addition and LayerNorm: out = LN(terms + bias + residual). */
  NORM: {
    op: 6,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** rows of D */
      rows: { offset: 0x04, type: 'u32' },
      /** columns of D */
      width: { offset: 0x08, type: 'u32' },
      /** u32[sequences+1] first row of each sequence */
      starts_off: { offset: 0x0C, type: 'u32' },
      /** sequences in the rows */
      sequences: { offset: 0x10, type: 'u32' },
      /** f32[width], or 0 */
      bias_off: { offset: 0x14, type: 'u32' },
      /** f32[rows][width] */
      residual_off: { offset: 0x18, type: 'u32' },
      /** f32[width] */
      gamma_off: { offset: 0x1C, type: 'u32' },
      /** f32[width] */
      beta_off: { offset: 0x20, type: 'u32' },
      /** LayerNorm epsilon */
      epsilon: { offset: 0x28, type: 'f64' },
      /** f32[rows][width]; may be the residual itself */
      out_off: { offset: 0x30, type: 'u32' },
      /** first row that this record computes */
      first_row: { offset: 0x48, type: 'u32' },
      /** the row behind the last that it computes; 0: all from first_row on */
      end_row: { offset: 0x4C, type: 'u32' },
    },
  },
  /** Softmax over the scores of every head of one sequence, scale * step of found_b * (step of found_a * D + t of found_a * key_sums). Its rows, head after head, go to the one QUANTISE record; with a VALUE record behind it, its rows are those of the context. */
  SOFTMAX: {
    op: 7,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** 1: the scores are int16; 0: int32 */
      acc_int16: { offset: 0x03, type: 'u8' },
      /** sequence length: rows and columns of one head */
      tokens: { offset: 0x04, type: 'u32' },
      /** heads */
      heads: { offset: 0x08, type: 'u32' },
      /** integer scores, heads*tokens rows */
      acc_off: { offset: 0x0C, type: 'u32' },
      /** bytes from one row to the next */
      acc_stride: { offset: 0x10, type: 'u32' },
      /** one found entry: Q's, or 0 */
      found_a_off: { offset: 0x14, type: 'u32' },
      /** real score of one integer unit, > 0 */
      scale: { offset: 0x18, type: 'f64' },
      /** one found entry: K's, or 0 */
      found_b_off: { offset: 0x20, type: 'u32' },
      /** f64[table_length] exp(-scale*i) */
      table_off: { offset: 0x24, type: 'u32' },
      /** entries of the table; rows that spread further call exp */
      table_length: { offset: 0x28, type: 'u32' },
      /** i32[heads][tokens] sums over the codes of each key, that an offset of Q multiplies (what does not depend on the key cancels); or 0 */
      key_sums_off: { offset: 0x2C, type: 'u32' },
      /** bytes from one head of sums to the next */
      key_sums_stride: { offset: 0x30, type: 'u32' },
      /** first row that this record computes */
      first_row: { offset: 0x48, type: 'u32' },
      /** the row behind the last that it computes; 0: all from first_row on */
      end_row: { offset: 0x4C, type: 'u32' },
    },
  },
  /** Full-precision linear layer: out = x W^T + bias, float32 in and out, sums in double. */
  DENSE: {
    op: 8,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** rows of x */
      rows: { offset: 0x04, type: 'u32' },
      /** columns of x */
      width: { offset: 0x08, type: 'u32' },
      /** rows of W, columns of out */
      out_width: { offset: 0x0C, type: 'u32' },
      /** f32[rows][width] */
      x_off: { offset: 0x10, type: 'u32' },
      /** f32[out_width][width] */
      weight_off: { offset: 0x14, type: 'u32' },
      /** f32[out_width], or 0 */
      bias_off: { offset: 0x18, type: 'u32' },
      /** f32[rows][out_width] */
      out_off: { offset: 0x1C, type: 'u32' },
    },
  },
  /** Chosen rows of a float matrix: the first token of every sequence, for the last layer or the pooler. Each is a sequence of its own for its quantisers. */
  PICK: {
    op: 9,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** rows chosen */
      rows: { offset: 0x04, type: 'u32' },
      /** columns of x */
      width: { offset: 0x08, type: 'u32' },
      /** u32[sequences+1] first row of each sequence, of the rows chosen */
      starts_off: { offset: 0x0C, type: 'u32' },
      /** sequences in the rows */
      sequences: { offset: 0x10, type: 'u32' },
      /** u32[rows] which row of x */
      index_off: { offset: 0x14, type: 'u32' },
      /** f32[x_rows][width] */
      x_off: { offset: 0x18, type: 'u32' },
      /** rows of x */
      x_rows: { offset: 0x1C, type: 'u32' },
      /** f32[rows][width] the rows as they are, or 0 */
      out_off: { offset: 0x20, type: 'u32' },
    },
  },
  /** V of one sequence behind a SOFTMAX whose probabilities stay real: the rows of that step are then sum_j p_ij V_jc, tokens rows of all heads beside one another. */
  VALUE: {
    op: 10,
    fields: {
      /** TERM, TABLE or VALUE records that follow */
      terms: { offset: 0x01, type: 'u8' },
      /** QUANTISE records that follow those */
      consumers: { offset: 0x02, type: 'u8' },
      /** columns of all heads together */
      width: { offset: 0x04, type: 'u32' },
      /** planes of V transposed, a row for each column of V */
      off: { offset: 0x08, type: 'u32' },
      /** bytes from one row to the next */
      stride: { offset: 0x0C, type: 'u32' },
      /** operand format byte */
      format: { offset: 0x10, type: 'u32' },
      /** one found entry: V's, or 0 */
      found_off: { offset: 0x14, type: 'u32' },
      /** real value of one code, times the step of found */
      scale: { offset: 0x18, type: 'f64' },
      /** f32[tokens][width] working space: the codes, unpacked once */
      codes_off: { offset: 0x20, type: 'u32' },
    },
  },
} as const;
