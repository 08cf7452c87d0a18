/* Generated from native/vector/steps.yaml by "npm run contract". Do not edit. */
#ifndef BETA_VECTOR_STEPS_H
#define BETA_VECTOR_STEPS_H

#include <stddef.h>
#include <stdint.h>

#define BETA_STEP_BYTES 128u /* bytes of one record */
#define BETA_STEP_TERMS_MAX 2u /* TERM, TABLE or VALUE records of one producer: the branches of a layer */
#define BETA_STEP_CONSUMERS_MAX 8u /* QUANTISE records of one producer */
#define BETA_STEP_WIDTH_MAX 32768u /* largest row width or sequence length of a step */
#define BETA_FOUND_BYTES 16u /* bytes of one entry of a found array */
#define BETA_OPERATION_WORDS 4u /* u32 words of one operation of a program: the kind, then its arguments */

#define BETA_STEP_ACTIVATION_IDENTITY 0u /* identity */
#define BETA_STEP_ACTIVATION_RELU 1u /* relu */
#define BETA_STEP_ACTIVATION_GELU 2u /* gelu */
#define BETA_STEP_ACTIVATION_TANH 3u /* tanh */

#define BETA_STEP_QUANTISER_SIGN 0u /* +1, 0, -1; in format PM1 a zero becomes +1 */
#define BETA_STEP_QUANTISER_ROUND 1u /* clip(rne(x / step), qmin, qmax) */
#define BETA_STEP_QUANTISER_ROUND_FROM_MIN 2u /* clip(rne((x - t) / step), qmin, qmax), t the minimum over the sequence */
#define BETA_STEP_QUANTISER_SYMMETRIC 3u /* rne(c * qmax / M), c = x clipped, M the largest |c| of the sequence; step = M / qmax */
#define BETA_STEP_QUANTISER_ASYMMETRIC 4u /* rne((c - t) / a * qmax), c = x clipped, t the smallest c, a = largest - t + 1e-8; step = a / qmax */

#define BETA_OPERATION_SUBMIT 1u /* first, count: hands the next descriptors to the engine */
#define BETA_OPERATION_WAIT 2u /* count: until the first count descriptors of the program are complete */
#define BETA_OPERATION_VECTOR 3u /* first, count: runs step records; the steps among them do not depend on one another */
#define BETA_OPERATION_SYNC_FOR_DEVICE 4u /* off, bytes: the engine reads next what the CPU wrote */
#define BETA_OPERATION_SYNC_FOR_CPU 5u /* off, bytes: the CPU reads next what the engine wrote */

typedef struct beta_step {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[125];
} beta_step;
_Static_assert(sizeof(beta_step) == 128, "layout of beta_step");
_Static_assert(offsetof(beta_step, op) == 0, "offset of beta_step.op");
_Static_assert(offsetof(beta_step, terms) == 1, "offset of beta_step.terms");
_Static_assert(offsetof(beta_step, consumers) == 2, "offset of beta_step.consumers");

#define BETA_STEP_QUANTISE 1u /* Quantise the rows of a producer and pack them into bit-planes. */
typedef struct beta_step_quantise {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t format; /* operand format byte (contract) */
  uint8_t kind; /* step_quantiser */
  uint8_t gap0[3];
  int32_t qmin; /* smallest code */
  int32_t qmax; /* largest code */
  double step; /* step size, > 0; not read where it is found at run time */
  double clip_low; /* lower bound of c for SYMMETRIC and ASYMMETRIC */
  double clip_high; /* upper bound of c */
  uint32_t shift_off; /* f32[width] added before quantising (move), or 0 */
  uint32_t out_off; /* planes, row 0 */
  uint32_t out_stride; /* bytes from one row to the next */
  uint32_t found_off; /* found[sequences] that kinds 2 to 4 write */
  uint32_t sums_off; /* f64 sum of the real values of the codes of each row, for an operand with an offset to be multiplied by; or 0 */
  uint32_t sums_rows; /* rows of one block of sums (one attention head) */
  uint32_t sums_stride; /* bytes from one block of sums to the next */
  uint8_t gap1[60];
} beta_step_quantise;
_Static_assert(sizeof(beta_step_quantise) == 128, "layout of beta_step_quantise");
_Static_assert(offsetof(beta_step_quantise, op) == 0, "offset of beta_step_quantise.op");
_Static_assert(offsetof(beta_step_quantise, terms) == 1, "offset of beta_step_quantise.terms");
_Static_assert(offsetof(beta_step_quantise, consumers) == 2, "offset of beta_step_quantise.consumers");
_Static_assert(offsetof(beta_step_quantise, format) == 3, "offset of beta_step_quantise.format");
_Static_assert(offsetof(beta_step_quantise, kind) == 4, "offset of beta_step_quantise.kind");
_Static_assert(offsetof(beta_step_quantise, qmin) == 8, "offset of beta_step_quantise.qmin");
_Static_assert(offsetof(beta_step_quantise, qmax) == 12, "offset of beta_step_quantise.qmax");
_Static_assert(offsetof(beta_step_quantise, step) == 16, "offset of beta_step_quantise.step");
_Static_assert(offsetof(beta_step_quantise, clip_low) == 24, "offset of beta_step_quantise.clip_low");
_Static_assert(offsetof(beta_step_quantise, clip_high) == 32, "offset of beta_step_quantise.clip_high");
_Static_assert(offsetof(beta_step_quantise, shift_off) == 40, "offset of beta_step_quantise.shift_off");
_Static_assert(offsetof(beta_step_quantise, out_off) == 44, "offset of beta_step_quantise.out_off");
_Static_assert(offsetof(beta_step_quantise, out_stride) == 48, "offset of beta_step_quantise.out_stride");
_Static_assert(offsetof(beta_step_quantise, found_off) == 52, "offset of beta_step_quantise.found_off");
_Static_assert(offsetof(beta_step_quantise, sums_off) == 56, "offset of beta_step_quantise.sums_off");
_Static_assert(offsetof(beta_step_quantise, sums_rows) == 60, "offset of beta_step_quantise.sums_rows");
_Static_assert(offsetof(beta_step_quantise, sums_stride) == 64, "offset of beta_step_quantise.sums_stride");

#define BETA_STEP_TERM 2u /* Integers of a producer: adds s*D + t*sums_scale*sums + u*row_sums, s = scale * step of found_a * step of found_b, t that of found_a times the step of found_b, u that of found_b. */
typedef struct beta_step_term {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t acc_int16; /* 1: the accumulators are int16; 0: int32 */
  uint32_t acc_off; /* accumulators D */
  uint32_t acc_stride; /* bytes from one row to the next inside a block */
  uint32_t block; /* columns of one block (one attention head), the width if there is one block */
  uint32_t block_stride; /* bytes from one block to the next */
  uint32_t scale_off; /* f64[width, or rows if by_row] scales, or 0 for the scalar */
  double scale; /* scale when scale_off is 0 */
  uint32_t found_a_off; /* found[sequences] of the activation codes, or 0 */
  uint32_t found_b_off; /* found[sequences] of the other operand, or 0 */
  uint32_t sums_off; /* sums that t multiplies: f64[width, or rows if by_row], or i32[sequences][width] where sums_stride > 0; 0 where t is 0 */
  uint32_t sums_stride; /* bytes from one sequence to the next, 0 for f64 sums */
  double sums_scale; /* factor of t*sums */
  uint32_t row_sums_off; /* f64[blocks][rows] sums of the real values of the rows of the first operand, that u multiplies; 0 where u is 0 */
  uint32_t row_sums_stride; /* bytes from one block of row sums to the next */
  uint8_t gap0[64];
} beta_step_term;
_Static_assert(sizeof(beta_step_term) == 128, "layout of beta_step_term");
_Static_assert(offsetof(beta_step_term, op) == 0, "offset of beta_step_term.op");
_Static_assert(offsetof(beta_step_term, terms) == 1, "offset of beta_step_term.terms");
_Static_assert(offsetof(beta_step_term, consumers) == 2, "offset of beta_step_term.consumers");
_Static_assert(offsetof(beta_step_term, acc_int16) == 3, "offset of beta_step_term.acc_int16");
_Static_assert(offsetof(beta_step_term, acc_off) == 4, "offset of beta_step_term.acc_off");
_Static_assert(offsetof(beta_step_term, acc_stride) == 8, "offset of beta_step_term.acc_stride");
_Static_assert(offsetof(beta_step_term, block) == 12, "offset of beta_step_term.block");
_Static_assert(offsetof(beta_step_term, block_stride) == 16, "offset of beta_step_term.block_stride");
_Static_assert(offsetof(beta_step_term, scale_off) == 20, "offset of beta_step_term.scale_off");
_Static_assert(offsetof(beta_step_term, scale) == 24, "offset of beta_step_term.scale");
_Static_assert(offsetof(beta_step_term, found_a_off) == 32, "offset of beta_step_term.found_a_off");
_Static_assert(offsetof(beta_step_term, found_b_off) == 36, "offset of beta_step_term.found_b_off");
_Static_assert(offsetof(beta_step_term, sums_off) == 40, "offset of beta_step_term.sums_off");
_Static_assert(offsetof(beta_step_term, sums_stride) == 44, "offset of beta_step_term.sums_stride");
_Static_assert(offsetof(beta_step_term, sums_scale) == 48, "offset of beta_step_term.sums_scale");
_Static_assert(offsetof(beta_step_term, row_sums_off) == 56, "offset of beta_step_term.row_sums_off");
_Static_assert(offsetof(beta_step_term, row_sums_stride) == 60, "offset of beta_step_term.row_sums_stride");

#define BETA_STEP_TABLE 3u /* One word table of an embedding. */
typedef struct beta_step_table {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[1];
  uint32_t word_off; /* word table, bit-planes */
  uint32_t word_stride; /* bytes of one word row */
  uint32_t word_format; /* operand format byte: PM1, or S 2 bits where a code is 0 */
  uint32_t word_scale_off; /* f64[words] scale of each row */
  uint8_t gap1[108];
} beta_step_table;
_Static_assert(sizeof(beta_step_table) == 128, "layout of beta_step_table");
_Static_assert(offsetof(beta_step_table, op) == 0, "offset of beta_step_table.op");
_Static_assert(offsetof(beta_step_table, terms) == 1, "offset of beta_step_table.terms");
_Static_assert(offsetof(beta_step_table, consumers) == 2, "offset of beta_step_table.consumers");
_Static_assert(offsetof(beta_step_table, word_off) == 4, "offset of beta_step_table.word_off");
_Static_assert(offsetof(beta_step_table, word_stride) == 8, "offset of beta_step_table.word_stride");
_Static_assert(offsetof(beta_step_table, word_format) == 12, "offset of beta_step_table.word_format");
_Static_assert(offsetof(beta_step_table, word_scale_off) == 16, "offset of beta_step_table.word_scale_off");

#define BETA_STEP_EMBED 4u /* Sum of word (over the tables), position and token-type embeddings, then LayerNorm. */
typedef struct beta_step_embed {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[1];
  uint32_t rows; /* tokens */
  uint32_t width; /* hidden size */
  uint32_t starts_off; /* u32[sequences+1] first row of each sequence */
  uint32_t sequences; /* sequences in the rows */
  uint32_t ids_off; /* u32[rows] word ids */
  uint32_t positions_off; /* u32[rows] positions */
  uint32_t types_off; /* u32[rows] token types */
  uint32_t position_off; /* f32[positions][width] */
  uint32_t type_off; /* f32[types][width] */
  uint32_t words; /* rows of each word table */
  uint32_t positions; /* rows of the position table */
  uint32_t types; /* rows of the type table */
  uint32_t gamma_off; /* f32[width] */
  double epsilon; /* LayerNorm epsilon */
  uint32_t beta_off; /* f32[width] */
  uint32_t out_off; /* f32[rows][width] normalised rows */
  uint32_t first_row; /* first row that this record computes */
  uint32_t end_row; /* the row behind the last that it computes; 0: all from first_row on */
  uint8_t gap1[48];
} beta_step_embed;
_Static_assert(sizeof(beta_step_embed) == 128, "layout of beta_step_embed");
_Static_assert(offsetof(beta_step_embed, op) == 0, "offset of beta_step_embed.op");
_Static_assert(offsetof(beta_step_embed, terms) == 1, "offset of beta_step_embed.terms");
_Static_assert(offsetof(beta_step_embed, consumers) == 2, "offset of beta_step_embed.consumers");
_Static_assert(offsetof(beta_step_embed, rows) == 4, "offset of beta_step_embed.rows");
_Static_assert(offsetof(beta_step_embed, width) == 8, "offset of beta_step_embed.width");
_Static_assert(offsetof(beta_step_embed, starts_off) == 12, "offset of beta_step_embed.starts_off");
_Static_assert(offsetof(beta_step_embed, sequences) == 16, "offset of beta_step_embed.sequences");
_Static_assert(offsetof(beta_step_embed, ids_off) == 20, "offset of beta_step_embed.ids_off");
_Static_assert(offsetof(beta_step_embed, positions_off) == 24, "offset of beta_step_embed.positions_off");
_Static_assert(offsetof(beta_step_embed, types_off) == 28, "offset of beta_step_embed.types_off");
_Static_assert(offsetof(beta_step_embed, position_off) == 32, "offset of beta_step_embed.position_off");
_Static_assert(offsetof(beta_step_embed, type_off) == 36, "offset of beta_step_embed.type_off");
_Static_assert(offsetof(beta_step_embed, words) == 40, "offset of beta_step_embed.words");
_Static_assert(offsetof(beta_step_embed, positions) == 44, "offset of beta_step_embed.positions");
_Static_assert(offsetof(beta_step_embed, types) == 48, "offset of beta_step_embed.types");
_Static_assert(offsetof(beta_step_embed, gamma_off) == 52, "offset of beta_step_embed.gamma_off");
_Static_assert(offsetof(beta_step_embed, epsilon) == 56, "offset of beta_step_embed.epsilon");
_Static_assert(offsetof(beta_step_embed, beta_off) == 64, "offset of beta_step_embed.beta_off");
_Static_assert(offsetof(beta_step_embed, out_off) == 68, "offset of beta_step_embed.out_off");
_Static_assert(offsetof(beta_step_embed, first_row) == 72, "offset of beta_step_embed.first_row");
_Static_assert(offsetof(beta_step_embed, end_row) == 76, "offset of beta_step_embed.end_row");

#define BETA_STEP_AFFINE 5u /* Integer result to real value, y = activation(terms + bias), the merged epilogue (QUANTIZERS 4); optional float output and quantisers. */
typedef struct beta_step_affine {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t activation; /* step_activation */
  uint32_t rows; /* rows of D */
  uint32_t width; /* columns of D in all blocks together */
  uint32_t starts_off; /* u32[sequences+1] first row of each sequence, or 0 for one */
  uint32_t sequences; /* sequences in the rows; 1 where starts_off is 0 */
  uint32_t by_row; /* 1: scale, bias and sums are indexed by row (a transposed product) */
  uint32_t bias_off; /* f32[width or rows], or 0 */
  uint32_t out_off; /* f32[rows][width], or 0 */
  uint8_t gap0[40];
  uint32_t first_row; /* first row that this record computes */
  uint32_t end_row; /* the row behind the last that it computes; 0: all from first_row on */
  uint8_t gap1[48];
} beta_step_affine;
_Static_assert(sizeof(beta_step_affine) == 128, "layout of beta_step_affine");
_Static_assert(offsetof(beta_step_affine, op) == 0, "offset of beta_step_affine.op");
_Static_assert(offsetof(beta_step_affine, terms) == 1, "offset of beta_step_affine.terms");
_Static_assert(offsetof(beta_step_affine, consumers) == 2, "offset of beta_step_affine.consumers");
_Static_assert(offsetof(beta_step_affine, activation) == 3, "offset of beta_step_affine.activation");
_Static_assert(offsetof(beta_step_affine, rows) == 4, "offset of beta_step_affine.rows");
_Static_assert(offsetof(beta_step_affine, width) == 8, "offset of beta_step_affine.width");
_Static_assert(offsetof(beta_step_affine, starts_off) == 12, "offset of beta_step_affine.starts_off");
_Static_assert(offsetof(beta_step_affine, sequences) == 16, "offset of beta_step_affine.sequences");
_Static_assert(offsetof(beta_step_affine, by_row) == 20, "offset of beta_step_affine.by_row");
_Static_assert(offsetof(beta_step_affine, bias_off) == 24, "offset of beta_step_affine.bias_off");
_Static_assert(offsetof(beta_step_affine, out_off) == 28, "offset of beta_step_affine.out_off");
_Static_assert(offsetof(beta_step_affine, first_row) == 72, "offset of beta_step_affine.first_row");
_Static_assert(offsetof(beta_step_affine, end_row) == 76, "offset of beta_step_affine.end_row");

#define BETA_STEP_NORM 6u /* Linear epilogue, residual addition and LayerNorm: out = LN(terms + bias + residual). */
typedef struct beta_step_norm {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[1];
  uint32_t rows; /* rows of D */
  uint32_t width; /* columns of D */
  uint32_t starts_off; /* u32[sequences+1] first row of each sequence */
  uint32_t sequences; /* sequences in the rows */
  uint32_t bias_off; /* f32[width], or 0 */
  uint32_t residual_off; /* f32[rows][width] */
  uint32_t gamma_off; /* f32[width] */
  uint32_t beta_off; /* f32[width] */
  uint8_t gap1[4];
  double epsilon; /* LayerNorm epsilon */
  uint32_t out_off; /* f32[rows][width]; may be the residual itself */
  uint8_t gap2[20];
  uint32_t first_row; /* first row that this record computes */
  uint32_t end_row; /* the row behind the last that it computes; 0: all from first_row on */
  uint8_t gap3[48];
} beta_step_norm;
_Static_assert(sizeof(beta_step_norm) == 128, "layout of beta_step_norm");
_Static_assert(offsetof(beta_step_norm, op) == 0, "offset of beta_step_norm.op");
_Static_assert(offsetof(beta_step_norm, terms) == 1, "offset of beta_step_norm.terms");
_Static_assert(offsetof(beta_step_norm, consumers) == 2, "offset of beta_step_norm.consumers");
_Static_assert(offsetof(beta_step_norm, rows) == 4, "offset of beta_step_norm.rows");
_Static_assert(offsetof(beta_step_norm, width) == 8, "offset of beta_step_norm.width");
_Static_assert(offsetof(beta_step_norm, starts_off) == 12, "offset of beta_step_norm.starts_off");
_Static_assert(offsetof(beta_step_norm, sequences) == 16, "offset of beta_step_norm.sequences");
_Static_assert(offsetof(beta_step_norm, bias_off) == 20, "offset of beta_step_norm.bias_off");
_Static_assert(offsetof(beta_step_norm, residual_off) == 24, "offset of beta_step_norm.residual_off");
_Static_assert(offsetof(beta_step_norm, gamma_off) == 28, "offset of beta_step_norm.gamma_off");
_Static_assert(offsetof(beta_step_norm, beta_off) == 32, "offset of beta_step_norm.beta_off");
_Static_assert(offsetof(beta_step_norm, epsilon) == 40, "offset of beta_step_norm.epsilon");
_Static_assert(offsetof(beta_step_norm, out_off) == 48, "offset of beta_step_norm.out_off");
_Static_assert(offsetof(beta_step_norm, first_row) == 72, "offset of beta_step_norm.first_row");
_Static_assert(offsetof(beta_step_norm, end_row) == 76, "offset of beta_step_norm.end_row");

#define BETA_STEP_SOFTMAX 7u /* Softmax over the scores of every head of one sequence, scale * step of found_b * (step of found_a * D + t of found_a * key_sums). Its rows, head after head, go to the one QUANTISE record; with a VALUE record behind it, its rows are those of the context. */
typedef struct beta_step_softmax {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t acc_int16; /* 1: the scores are int16; 0: int32 */
  uint32_t tokens; /* sequence length: rows and columns of one head */
  uint32_t heads; /* heads */
  uint32_t acc_off; /* integer scores, heads*tokens rows */
  uint32_t acc_stride; /* bytes from one row to the next */
  uint32_t found_a_off; /* one found entry: Q's, or 0 */
  double scale; /* real score of one integer unit, > 0 */
  uint32_t found_b_off; /* one found entry: K's, or 0 */
  uint32_t table_off; /* f64[table_length] exp(-scale*i) */
  uint32_t table_length; /* entries of the table; rows that spread further call exp */
  uint32_t key_sums_off; /* i32[heads][tokens] sums over the codes of each key, that an offset of Q multiplies (what does not depend on the key cancels); or 0 */
  uint32_t key_sums_stride; /* bytes from one head of sums to the next */
  uint8_t gap0[20];
  uint32_t first_row; /* first row that this record computes */
  uint32_t end_row; /* the row behind the last that it computes; 0: all from first_row on */
  uint8_t gap1[48];
} beta_step_softmax;
_Static_assert(sizeof(beta_step_softmax) == 128, "layout of beta_step_softmax");
_Static_assert(offsetof(beta_step_softmax, op) == 0, "offset of beta_step_softmax.op");
_Static_assert(offsetof(beta_step_softmax, terms) == 1, "offset of beta_step_softmax.terms");
_Static_assert(offsetof(beta_step_softmax, consumers) == 2, "offset of beta_step_softmax.consumers");
_Static_assert(offsetof(beta_step_softmax, acc_int16) == 3, "offset of beta_step_softmax.acc_int16");
_Static_assert(offsetof(beta_step_softmax, tokens) == 4, "offset of beta_step_softmax.tokens");
_Static_assert(offsetof(beta_step_softmax, heads) == 8, "offset of beta_step_softmax.heads");
_Static_assert(offsetof(beta_step_softmax, acc_off) == 12, "offset of beta_step_softmax.acc_off");
_Static_assert(offsetof(beta_step_softmax, acc_stride) == 16, "offset of beta_step_softmax.acc_stride");
_Static_assert(offsetof(beta_step_softmax, found_a_off) == 20, "offset of beta_step_softmax.found_a_off");
_Static_assert(offsetof(beta_step_softmax, scale) == 24, "offset of beta_step_softmax.scale");
_Static_assert(offsetof(beta_step_softmax, found_b_off) == 32, "offset of beta_step_softmax.found_b_off");
_Static_assert(offsetof(beta_step_softmax, table_off) == 36, "offset of beta_step_softmax.table_off");
_Static_assert(offsetof(beta_step_softmax, table_length) == 40, "offset of beta_step_softmax.table_length");
_Static_assert(offsetof(beta_step_softmax, key_sums_off) == 44, "offset of beta_step_softmax.key_sums_off");
_Static_assert(offsetof(beta_step_softmax, key_sums_stride) == 48, "offset of beta_step_softmax.key_sums_stride");
_Static_assert(offsetof(beta_step_softmax, first_row) == 72, "offset of beta_step_softmax.first_row");
_Static_assert(offsetof(beta_step_softmax, end_row) == 76, "offset of beta_step_softmax.end_row");

#define BETA_STEP_DENSE 8u /* Full-precision linear layer: out = x W^T + bias, float32 in and out, sums in double. */
typedef struct beta_step_dense {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[1];
  uint32_t rows; /* rows of x */
  uint32_t width; /* columns of x */
  uint32_t out_width; /* rows of W, columns of out */
  uint32_t x_off; /* f32[rows][width] */
  uint32_t weight_off; /* f32[out_width][width] */
  uint32_t bias_off; /* f32[out_width], or 0 */
  uint32_t out_off; /* f32[rows][out_width] */
  uint8_t gap1[96];
} beta_step_dense;
_Static_assert(sizeof(beta_step_dense) == 128, "layout of beta_step_dense");
_Static_assert(offsetof(beta_step_dense, op) == 0, "offset of beta_step_dense.op");
_Static_assert(offsetof(beta_step_dense, terms) == 1, "offset of beta_step_dense.terms");
_Static_assert(offsetof(beta_step_dense, consumers) == 2, "offset of beta_step_dense.consumers");
_Static_assert(offsetof(beta_step_dense, rows) == 4, "offset of beta_step_dense.rows");
_Static_assert(offsetof(beta_step_dense, width) == 8, "offset of beta_step_dense.width");
_Static_assert(offsetof(beta_step_dense, out_width) == 12, "offset of beta_step_dense.out_width");
_Static_assert(offsetof(beta_step_dense, x_off) == 16, "offset of beta_step_dense.x_off");
_Static_assert(offsetof(beta_step_dense, weight_off) == 20, "offset of beta_step_dense.weight_off");
_Static_assert(offsetof(beta_step_dense, bias_off) == 24, "offset of beta_step_dense.bias_off");
_Static_assert(offsetof(beta_step_dense, out_off) == 28, "offset of beta_step_dense.out_off");

#define BETA_STEP_PICK 9u /* Chosen rows of a float matrix: the first token of every sequence, for the last layer or the pooler. Each is a sequence of its own for its quantisers. */
typedef struct beta_step_pick {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[1];
  uint32_t rows; /* rows chosen */
  uint32_t width; /* columns of x */
  uint32_t starts_off; /* u32[sequences+1] first row of each sequence, of the rows chosen */
  uint32_t sequences; /* sequences in the rows */
  uint32_t index_off; /* u32[rows] which row of x */
  uint32_t x_off; /* f32[x_rows][width] */
  uint32_t x_rows; /* rows of x */
  uint32_t out_off; /* f32[rows][width] the rows as they are, or 0 */
  uint8_t gap1[92];
} beta_step_pick;
_Static_assert(sizeof(beta_step_pick) == 128, "layout of beta_step_pick");
_Static_assert(offsetof(beta_step_pick, op) == 0, "offset of beta_step_pick.op");
_Static_assert(offsetof(beta_step_pick, terms) == 1, "offset of beta_step_pick.terms");
_Static_assert(offsetof(beta_step_pick, consumers) == 2, "offset of beta_step_pick.consumers");
_Static_assert(offsetof(beta_step_pick, rows) == 4, "offset of beta_step_pick.rows");
_Static_assert(offsetof(beta_step_pick, width) == 8, "offset of beta_step_pick.width");
_Static_assert(offsetof(beta_step_pick, starts_off) == 12, "offset of beta_step_pick.starts_off");
_Static_assert(offsetof(beta_step_pick, sequences) == 16, "offset of beta_step_pick.sequences");
_Static_assert(offsetof(beta_step_pick, index_off) == 20, "offset of beta_step_pick.index_off");
_Static_assert(offsetof(beta_step_pick, x_off) == 24, "offset of beta_step_pick.x_off");
_Static_assert(offsetof(beta_step_pick, x_rows) == 28, "offset of beta_step_pick.x_rows");
_Static_assert(offsetof(beta_step_pick, out_off) == 32, "offset of beta_step_pick.out_off");

#define BETA_STEP_VALUE 10u /* V of one sequence behind a SOFTMAX whose probabilities stay real: the rows of that step are then sum_j p_ij V_jc, tokens rows of all heads beside one another. */
typedef struct beta_step_value {
  uint8_t op; /* which step */
  uint8_t terms; /* TERM, TABLE or VALUE records that follow */
  uint8_t consumers; /* QUANTISE records that follow those */
  uint8_t gap0[1];
  uint32_t width; /* columns of all heads together */
  uint32_t off; /* planes of V transposed, a row for each column of V */
  uint32_t stride; /* bytes from one row to the next */
  uint32_t format; /* operand format byte */
  uint32_t found_off; /* one found entry: V's, or 0 */
  double scale; /* real value of one code, times the step of found */
  uint32_t codes_off; /* f32[tokens][width] working space: the codes, unpacked once */
  uint8_t gap1[92];
} beta_step_value;
_Static_assert(sizeof(beta_step_value) == 128, "layout of beta_step_value");
_Static_assert(offsetof(beta_step_value, op) == 0, "offset of beta_step_value.op");
_Static_assert(offsetof(beta_step_value, terms) == 1, "offset of beta_step_value.terms");
_Static_assert(offsetof(beta_step_value, consumers) == 2, "offset of beta_step_value.consumers");
_Static_assert(offsetof(beta_step_value, width) == 4, "offset of beta_step_value.width");
_Static_assert(offsetof(beta_step_value, off) == 8, "offset of beta_step_value.off");
_Static_assert(offsetof(beta_step_value, stride) == 12, "offset of beta_step_value.stride");
_Static_assert(offsetof(beta_step_value, format) == 16, "offset of beta_step_value.format");
_Static_assert(offsetof(beta_step_value, found_off) == 20, "offset of beta_step_value.found_off");
_Static_assert(offsetof(beta_step_value, scale) == 24, "offset of beta_step_value.scale");
_Static_assert(offsetof(beta_step_value, codes_off) == 32, "offset of beta_step_value.codes_off");

#endif
