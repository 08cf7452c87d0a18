/* Generated from native/vector/steps.yaml by "npm run contract". Do not edit. */
#ifndef BETA_VECTOR_STEPS_H
#define BETA_VECTOR_STEPS_H

#include <stddef.h>
#include <stdint.h>

#define BETA_STEP_BYTES 128u /* bytes of one record */
#define BETA_STEP_CONSUMERS_MAX 4u /* QUANTISE records that may follow one producer */
#define BETA_STEP_WIDTH_MAX 32768u /* largest row width or sequence length of a step */

#define BETA_STEP_ACTIVATION_IDENTITY 0u /* identity */
#define BETA_STEP_ACTIVATION_RELU 1u /* relu */
#define BETA_STEP_ACTIVATION_GELU 2u /* gelu */
#define BETA_STEP_ACTIVATION_TANH 3u /* tanh */

#define BETA_STEP_QUANTISER_SIGN 0u /* +1, 0, -1; in format PM1 a zero becomes +1 */
#define BETA_STEP_QUANTISER_ROUND 1u /* clip(rne(x / step), qmin, qmax) */
#define BETA_STEP_QUANTISER_ROUND_FROM_MIN 2u /* clip(rne((x - t) / step), qmin, qmax), t the minimum over the sequence, stored in found_off */

typedef struct beta_step {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t gap0[126];
} beta_step;
_Static_assert(sizeof(beta_step) == 128, "layout of beta_step");
_Static_assert(offsetof(beta_step, op) == 0, "offset of beta_step.op");
_Static_assert(offsetof(beta_step, consumers) == 1, "offset of beta_step.consumers");

#define BETA_STEP_QUANTISE 1u /* Quantise the rows of the step before it and pack them into bit-planes (QUANTIZERS: activation quantiser). */
typedef struct beta_step_quantise {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t format; /* operand format byte (contract) */
  uint8_t kind; /* step_quantiser */
  int32_t qmin; /* smallest code */
  int32_t qmax; /* largest code */
  uint32_t shift_off; /* f32[width] added before quantising (move), or 0 */
  double step; /* step size alpha, > 0 */
  uint32_t out_off; /* planes, row 0 */
  uint32_t out_stride; /* bytes from one row to the next */
  uint32_t out_head_stride; /* SOFTMAX: bytes from one head to the next */
  uint32_t k0; /* element inside the first block where a row starts */
  uint32_t found_off; /* f64[sequences]: where ROUND_FROM_MIN stores each minimum */
  uint8_t gap0[84];
} beta_step_quantise;
_Static_assert(sizeof(beta_step_quantise) == 128, "layout of beta_step_quantise");
_Static_assert(offsetof(beta_step_quantise, op) == 0, "offset of beta_step_quantise.op");
_Static_assert(offsetof(beta_step_quantise, consumers) == 1, "offset of beta_step_quantise.consumers");
_Static_assert(offsetof(beta_step_quantise, format) == 2, "offset of beta_step_quantise.format");
_Static_assert(offsetof(beta_step_quantise, kind) == 3, "offset of beta_step_quantise.kind");
_Static_assert(offsetof(beta_step_quantise, qmin) == 4, "offset of beta_step_quantise.qmin");
_Static_assert(offsetof(beta_step_quantise, qmax) == 8, "offset of beta_step_quantise.qmax");
_Static_assert(offsetof(beta_step_quantise, shift_off) == 12, "offset of beta_step_quantise.shift_off");
_Static_assert(offsetof(beta_step_quantise, step) == 16, "offset of beta_step_quantise.step");
_Static_assert(offsetof(beta_step_quantise, out_off) == 24, "offset of beta_step_quantise.out_off");
_Static_assert(offsetof(beta_step_quantise, out_stride) == 28, "offset of beta_step_quantise.out_stride");
_Static_assert(offsetof(beta_step_quantise, out_head_stride) == 32, "offset of beta_step_quantise.out_head_stride");
_Static_assert(offsetof(beta_step_quantise, k0) == 36, "offset of beta_step_quantise.k0");
_Static_assert(offsetof(beta_step_quantise, found_off) == 40, "offset of beta_step_quantise.found_off");

#define BETA_STEP_EMBED 2u /* Sum of word, position and token-type embeddings, then LayerNorm. */
typedef struct beta_step_embed {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t gap0[2];
  uint32_t rows; /* tokens */
  uint32_t width; /* hidden size */
  uint32_t ids_off; /* u32[rows] word ids */
  uint32_t positions_off; /* u32[rows] positions */
  uint32_t types_off; /* u32[rows] token types */
  uint32_t word_off; /* word table, bit-planes */
  uint32_t word_stride; /* bytes of one word row */
  uint32_t word_scale_off; /* f64[words] scale of each row */
  uint32_t position_off; /* f32[positions][width] */
  uint32_t type_off; /* f32[types][width] */
  uint32_t words; /* rows of the word table */
  uint32_t positions; /* rows of the position table */
  uint32_t types; /* rows of the type table */
  uint32_t gamma_off; /* f32[width] */
  uint32_t beta_off; /* f32[width] */
  double epsilon; /* LayerNorm epsilon */
  uint32_t out_off; /* f32[rows][width] normalised rows */
  uint32_t word_format; /* operand format byte of the word table: PM1, or S 2 bits where a code is 0 */
  uint8_t gap1[48];
} beta_step_embed;
_Static_assert(sizeof(beta_step_embed) == 128, "layout of beta_step_embed");
_Static_assert(offsetof(beta_step_embed, op) == 0, "offset of beta_step_embed.op");
_Static_assert(offsetof(beta_step_embed, consumers) == 1, "offset of beta_step_embed.consumers");
_Static_assert(offsetof(beta_step_embed, rows) == 4, "offset of beta_step_embed.rows");
_Static_assert(offsetof(beta_step_embed, width) == 8, "offset of beta_step_embed.width");
_Static_assert(offsetof(beta_step_embed, ids_off) == 12, "offset of beta_step_embed.ids_off");
_Static_assert(offsetof(beta_step_embed, positions_off) == 16, "offset of beta_step_embed.positions_off");
_Static_assert(offsetof(beta_step_embed, types_off) == 20, "offset of beta_step_embed.types_off");
_Static_assert(offsetof(beta_step_embed, word_off) == 24, "offset of beta_step_embed.word_off");
_Static_assert(offsetof(beta_step_embed, word_stride) == 28, "offset of beta_step_embed.word_stride");
_Static_assert(offsetof(beta_step_embed, word_scale_off) == 32, "offset of beta_step_embed.word_scale_off");
_Static_assert(offsetof(beta_step_embed, position_off) == 36, "offset of beta_step_embed.position_off");
_Static_assert(offsetof(beta_step_embed, type_off) == 40, "offset of beta_step_embed.type_off");
_Static_assert(offsetof(beta_step_embed, words) == 44, "offset of beta_step_embed.words");
_Static_assert(offsetof(beta_step_embed, positions) == 48, "offset of beta_step_embed.positions");
_Static_assert(offsetof(beta_step_embed, types) == 52, "offset of beta_step_embed.types");
_Static_assert(offsetof(beta_step_embed, gamma_off) == 56, "offset of beta_step_embed.gamma_off");
_Static_assert(offsetof(beta_step_embed, beta_off) == 60, "offset of beta_step_embed.beta_off");
_Static_assert(offsetof(beta_step_embed, epsilon) == 64, "offset of beta_step_embed.epsilon");
_Static_assert(offsetof(beta_step_embed, out_off) == 72, "offset of beta_step_embed.out_off");
_Static_assert(offsetof(beta_step_embed, word_format) == 76, "offset of beta_step_embed.word_format");

#define BETA_STEP_AFFINE 3u /* Integer result to real value, y = activation(scale*D + bias + t*offset_scale*sums), the merged epilogue (QUANTIZERS 4); optional float output and quantisers. */
typedef struct beta_step_affine {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t activation; /* step_activation */
  uint8_t by_row; /* 1: scale and bias are indexed by row (a transposed product) */
  uint32_t rows; /* rows of D */
  uint32_t width; /* columns of D in all blocks together */
  uint32_t acc_off; /* int32 accumulators */
  uint32_t acc_stride; /* bytes from one row to the next inside a block */
  uint32_t block; /* columns of one block (one attention head), width if there is one block */
  uint32_t block_stride; /* bytes from one block to the next */
  uint32_t scale_off; /* f64[width or rows] scales, or 0 for the scalar */
  double scale; /* scale when scale_off is 0 */
  uint32_t bias_off; /* f32[width or rows], or 0 */
  uint32_t starts_off; /* u32[sequences+1] first row of each sequence */
  uint32_t sequences; /* sequences in the rows; 1 where starts_off is 0 */
  uint32_t t_off; /* f64[sequences] run-time offsets, or 0 */
  uint32_t sums_off; /* sums that t multiplies: f64[width], or i32[sequences][width] where sums_stride > 0 */
  uint32_t sums_stride; /* bytes from one sequence to the next, 0 for f64[width] */
  double offset_scale; /* factor of t*sums */
  uint32_t out_off; /* f32[rows][width], or 0 */
  uint8_t gap0[52];
} beta_step_affine;
_Static_assert(sizeof(beta_step_affine) == 128, "layout of beta_step_affine");
_Static_assert(offsetof(beta_step_affine, op) == 0, "offset of beta_step_affine.op");
_Static_assert(offsetof(beta_step_affine, consumers) == 1, "offset of beta_step_affine.consumers");
_Static_assert(offsetof(beta_step_affine, activation) == 2, "offset of beta_step_affine.activation");
_Static_assert(offsetof(beta_step_affine, by_row) == 3, "offset of beta_step_affine.by_row");
_Static_assert(offsetof(beta_step_affine, rows) == 4, "offset of beta_step_affine.rows");
_Static_assert(offsetof(beta_step_affine, width) == 8, "offset of beta_step_affine.width");
_Static_assert(offsetof(beta_step_affine, acc_off) == 12, "offset of beta_step_affine.acc_off");
_Static_assert(offsetof(beta_step_affine, acc_stride) == 16, "offset of beta_step_affine.acc_stride");
_Static_assert(offsetof(beta_step_affine, block) == 20, "offset of beta_step_affine.block");
_Static_assert(offsetof(beta_step_affine, block_stride) == 24, "offset of beta_step_affine.block_stride");
_Static_assert(offsetof(beta_step_affine, scale_off) == 28, "offset of beta_step_affine.scale_off");
_Static_assert(offsetof(beta_step_affine, scale) == 32, "offset of beta_step_affine.scale");
_Static_assert(offsetof(beta_step_affine, bias_off) == 40, "offset of beta_step_affine.bias_off");
_Static_assert(offsetof(beta_step_affine, starts_off) == 44, "offset of beta_step_affine.starts_off");
_Static_assert(offsetof(beta_step_affine, sequences) == 48, "offset of beta_step_affine.sequences");
_Static_assert(offsetof(beta_step_affine, t_off) == 52, "offset of beta_step_affine.t_off");
_Static_assert(offsetof(beta_step_affine, sums_off) == 56, "offset of beta_step_affine.sums_off");
_Static_assert(offsetof(beta_step_affine, sums_stride) == 60, "offset of beta_step_affine.sums_stride");
_Static_assert(offsetof(beta_step_affine, offset_scale) == 64, "offset of beta_step_affine.offset_scale");
_Static_assert(offsetof(beta_step_affine, out_off) == 72, "offset of beta_step_affine.out_off");

#define BETA_STEP_NORM 4u /* Linear epilogue, residual addition and LayerNorm: out = LN(scale*D + bias + t*sums + residual). */
typedef struct beta_step_norm {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t gap0[2];
  uint32_t rows; /* rows of D */
  uint32_t width; /* columns of D */
  uint32_t acc_off; /* int32 accumulators */
  uint32_t acc_stride; /* bytes from one row to the next */
  uint32_t scale_off; /* f64[width] scales, or 0 for the scalar */
  double scale; /* scale when scale_off is 0 */
  uint32_t bias_off; /* f32[width], or 0 */
  uint32_t starts_off; /* u32[sequences+1] first row of each sequence */
  uint32_t sequences; /* sequences in the rows */
  uint32_t t_off; /* f64[sequences] run-time offsets, or 0 */
  uint32_t sums_off; /* f64[width] scaled column sums of the weights */
  uint32_t residual_off; /* f32[rows][width] */
  uint32_t gamma_off; /* f32[width] */
  uint32_t beta_off; /* f32[width] */
  double epsilon; /* LayerNorm epsilon */
  uint32_t out_off; /* f32[rows][width]; may be the residual itself */
  uint8_t gap1[52];
} beta_step_norm;
_Static_assert(sizeof(beta_step_norm) == 128, "layout of beta_step_norm");
_Static_assert(offsetof(beta_step_norm, op) == 0, "offset of beta_step_norm.op");
_Static_assert(offsetof(beta_step_norm, consumers) == 1, "offset of beta_step_norm.consumers");
_Static_assert(offsetof(beta_step_norm, rows) == 4, "offset of beta_step_norm.rows");
_Static_assert(offsetof(beta_step_norm, width) == 8, "offset of beta_step_norm.width");
_Static_assert(offsetof(beta_step_norm, acc_off) == 12, "offset of beta_step_norm.acc_off");
_Static_assert(offsetof(beta_step_norm, acc_stride) == 16, "offset of beta_step_norm.acc_stride");
_Static_assert(offsetof(beta_step_norm, scale_off) == 20, "offset of beta_step_norm.scale_off");
_Static_assert(offsetof(beta_step_norm, scale) == 24, "offset of beta_step_norm.scale");
_Static_assert(offsetof(beta_step_norm, bias_off) == 32, "offset of beta_step_norm.bias_off");
_Static_assert(offsetof(beta_step_norm, starts_off) == 36, "offset of beta_step_norm.starts_off");
_Static_assert(offsetof(beta_step_norm, sequences) == 40, "offset of beta_step_norm.sequences");
_Static_assert(offsetof(beta_step_norm, t_off) == 44, "offset of beta_step_norm.t_off");
_Static_assert(offsetof(beta_step_norm, sums_off) == 48, "offset of beta_step_norm.sums_off");
_Static_assert(offsetof(beta_step_norm, residual_off) == 52, "offset of beta_step_norm.residual_off");
_Static_assert(offsetof(beta_step_norm, gamma_off) == 56, "offset of beta_step_norm.gamma_off");
_Static_assert(offsetof(beta_step_norm, beta_off) == 60, "offset of beta_step_norm.beta_off");
_Static_assert(offsetof(beta_step_norm, epsilon) == 64, "offset of beta_step_norm.epsilon");
_Static_assert(offsetof(beta_step_norm, out_off) == 72, "offset of beta_step_norm.out_off");

#define BETA_STEP_SOFTMAX 5u /* Softmax over integer scores of every head of one sequence; the QUANTISE record that follows packs the probabilities. */
typedef struct beta_step_softmax {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t gap0[2];
  uint32_t tokens; /* sequence length: rows and columns of one head */
  uint32_t heads; /* heads */
  uint32_t acc_off; /* int32 scores, head 0 row 0 */
  uint32_t acc_stride; /* bytes from one row to the next */
  uint32_t head_stride; /* bytes from one head to the next */
  double scale; /* real score of one integer unit, > 0 */
  uint32_t table_off; /* f64[table_length] exp(-scale*i), or 0 to call exp */
  uint32_t table_length; /* entries of the table */
  uint8_t gap1[88];
} beta_step_softmax;
_Static_assert(sizeof(beta_step_softmax) == 128, "layout of beta_step_softmax");
_Static_assert(offsetof(beta_step_softmax, op) == 0, "offset of beta_step_softmax.op");
_Static_assert(offsetof(beta_step_softmax, consumers) == 1, "offset of beta_step_softmax.consumers");
_Static_assert(offsetof(beta_step_softmax, tokens) == 4, "offset of beta_step_softmax.tokens");
_Static_assert(offsetof(beta_step_softmax, heads) == 8, "offset of beta_step_softmax.heads");
_Static_assert(offsetof(beta_step_softmax, acc_off) == 12, "offset of beta_step_softmax.acc_off");
_Static_assert(offsetof(beta_step_softmax, acc_stride) == 16, "offset of beta_step_softmax.acc_stride");
_Static_assert(offsetof(beta_step_softmax, head_stride) == 20, "offset of beta_step_softmax.head_stride");
_Static_assert(offsetof(beta_step_softmax, scale) == 24, "offset of beta_step_softmax.scale");
_Static_assert(offsetof(beta_step_softmax, table_off) == 32, "offset of beta_step_softmax.table_off");
_Static_assert(offsetof(beta_step_softmax, table_length) == 36, "offset of beta_step_softmax.table_length");

#define BETA_STEP_DENSE 6u /* Full-precision linear layer: out = x W^T + bias, float32 in and out, sums in double. */
typedef struct beta_step_dense {
  uint8_t op; /* which step */
  uint8_t consumers; /* QUANTISE records that follow */
  uint8_t gap0[2];
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
_Static_assert(offsetof(beta_step_dense, consumers) == 1, "offset of beta_step_dense.consumers");
_Static_assert(offsetof(beta_step_dense, rows) == 4, "offset of beta_step_dense.rows");
_Static_assert(offsetof(beta_step_dense, width) == 8, "offset of beta_step_dense.width");
_Static_assert(offsetof(beta_step_dense, out_width) == 12, "offset of beta_step_dense.out_width");
_Static_assert(offsetof(beta_step_dense, x_off) == 16, "offset of beta_step_dense.x_off");
_Static_assert(offsetof(beta_step_dense, weight_off) == 20, "offset of beta_step_dense.weight_off");
_Static_assert(offsetof(beta_step_dense, bias_off) == 24, "offset of beta_step_dense.bias_off");
_Static_assert(offsetof(beta_step_dense, out_off) == 28, "offset of beta_step_dense.out_off");

#endif
