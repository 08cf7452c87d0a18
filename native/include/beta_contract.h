/* Generated from firmware-config/contract.yaml by "npm run contract". Do not edit. */
#ifndef BETA_CONTRACT_H
#define BETA_CONTRACT_H

#include <stddef.h>
#include <stdint.h>

#define BETA_VERSION_MAJOR 1u /* contract version */
#define BETA_VERSION_MINOR 0u /* contract version */
#define BETA_ENGINE_ID 0x314D4D51u /* ID register of every device that keeps this contract ("QMM1") */
#define BETA_BUILD_EMULATOR 0x00u /* BUILD register of the emulator; RTL revisions count from 1 */
#define BETA_REGISTER_SPACE 0x1000u /* bytes of the register page */
#define BETA_WINDOW_ALIGN 0x10000u /* WIN_LO/HI and WIN_SIZE are multiples of this (64 KiB) */
#define BETA_MAX_K_LIMIT 0x4000u /* largest MAX_K a device may report, so that abs(D) < 2^31 at 8x8 bits */
#define BETA_RING_LOG2_LIMIT 0x10u /* largest RING_MAX a device may report */
#define BETA_BLOCK_ELEMENTS 0x80u /* elements of one plane of one block: one beat */
#define BETA_BEAT_BYTES 0x10u /* bytes of a beat; every offset and stride is a multiple of it */
#define BETA_TABLE_ENTRY_BYTES 0x08u /* one epilogue entry: i32 bias, i32 mul (Q8.24) */
#define BETA_EPILOGUE_SHIFT 0x18u /* fraction bits of mul */
#define BETA_N0_LIMIT 0x78u /* largest n0 */

#define BETA_REG_ID 0x00u /* device: 0x314D4D51 ("QMM1") */
#define BETA_REG_VERSION 0x04u /* device: contract version */
#define BETA_VERSION_MAJOR_SHIFT 16u /* major */
#define BETA_VERSION_MAJOR_MASK 0xFFFFu /* major */
#define BETA_VERSION_MINOR_SHIFT 0u /* minor */
#define BETA_VERSION_MINOR_MASK 0xFFFFu /* minor */
#define BETA_REG_CAPS 0x08u /* device: supported widths, a bit for each log2 */
#define BETA_CAPS_A_WIDTHS_SHIFT 0u /* A operand: 1, 2, 4, 8 bits */
#define BETA_CAPS_A_WIDTHS_MASK 0x0Fu /* A operand: 1, 2, 4, 8 bits */
#define BETA_CAPS_B_WIDTHS_SHIFT 4u /* B operand: 1, 2, 4, 8 bits */
#define BETA_CAPS_B_WIDTHS_MASK 0x0Fu /* B operand: 1, 2, 4, 8 bits */
#define BETA_CAPS_O_WIDTHS_SHIFT 8u /* output: 1, 2, 4, 8, 16, 32 bits */
#define BETA_CAPS_O_WIDTHS_MASK 0x3Fu /* output: 1, 2, 4, 8, 16, 32 bits */
#define BETA_REG_GEOMETRY 0x0Cu /* device: array geometry, for cost models; never needed for a correct program */
#define BETA_GEOMETRY_DM_SHIFT 0u /* rows of A at once */
#define BETA_GEOMETRY_DM_MASK 0xFFu /* rows of A at once */
#define BETA_GEOMETRY_DN_SHIFT 8u /* rows of B at once */
#define BETA_GEOMETRY_DN_MASK 0xFFu /* rows of B at once */
#define BETA_GEOMETRY_DK64_SHIFT 16u /* K elements at once / 64 */
#define BETA_GEOMETRY_DK64_MASK 0xFFu /* K elements at once / 64 */
#define BETA_GEOMETRY_LANES_SHIFT 24u /* epilogue lanes */
#define BETA_GEOMETRY_LANES_MASK 0xFFu /* epilogue lanes */
#define BETA_REG_MAX_K 0x10u /* device: largest K, elements */
#define BETA_REG_MAX_KP 0x14u /* device: largest ceil((k0+K)/128) * bits of one row of A or B */
#define BETA_REG_RING_MAX 0x18u /* device: largest RING_LOG2 */
#define BETA_REG_BUILD 0x1Cu /* device: implementation id (0 emulator, else RTL revision) */
#define BETA_REG_CTRL 0x20u /* host: control */
#define BETA_CTRL_RUN_SHIFT 0u /* 1 run, 0 reset (a level) */
#define BETA_CTRL_RUN_MASK 0x01u /* 1 run, 0 reset (a level) */
#define BETA_REG_IRQ_EN 0x24u /* host: interrupt enables */
#define BETA_IRQ_EN_DONE_SHIFT 0u /* HEAD has reached WAKE */
#define BETA_IRQ_EN_DONE_MASK 0x01u /* HEAD has reached WAKE */
#define BETA_IRQ_EN_FAULT_SHIFT 1u /* FAULT is not zero */
#define BETA_IRQ_EN_FAULT_MASK 0x01u /* FAULT is not zero */
#define BETA_REG_WAKE 0x28u /* host: sequence number the done interrupt waits for */
#define BETA_REG_TAIL 0x2Cu /* host: submitted count (free-running) */
#define BETA_REG_WIN_LO 0x30u /* host: bus address of the window, low half, 64 KiB aligned */
#define BETA_REG_WIN_HI 0x34u /* host: bus address of the window, high half */
#define BETA_REG_WIN_SIZE 0x38u /* host: bytes, a multiple of 64 KiB, not zero */
#define BETA_REG_RING 0x3Cu /* host: window offset of the ring, 64-byte aligned */
#define BETA_REG_RING_LOG2 0x40u /* host: the ring has 2^n entries */
#define BETA_REG_IMAGE0 0x50u /* host: SHA-256 of the bitstream, bits 127:96; zero after configuration */
#define BETA_REG_IMAGE1 0x54u /* host: SHA-256 of the bitstream, bits 95:64 */
#define BETA_REG_IMAGE2 0x58u /* host: SHA-256 of the bitstream, bits 63:32 */
#define BETA_REG_IMAGE3 0x5Cu /* host: SHA-256 of the bitstream, bits 31:0 */
#define BETA_REG_STATUS 0x80u /* device: state */
#define BETA_STATUS_READY_SHIFT 0u /* configuration accepted, running */
#define BETA_STATUS_READY_MASK 0x01u /* configuration accepted, running */
#define BETA_STATUS_BUSY_SHIFT 1u /* a descriptor is in flight */
#define BETA_STATUS_BUSY_MASK 0x01u /* a descriptor is in flight */
#define BETA_STATUS_FAULT_SHIFT 2u /* stopped by a fault */
#define BETA_STATUS_FAULT_MASK 0x01u /* stopped by a fault */
#define BETA_REG_HEAD 0x84u /* device: completed count (free-running) */
#define BETA_REG_FAULT 0x88u /* device: what stopped the engine */
#define BETA_FAULT_CODE_SHIFT 0u /* fault code */
#define BETA_FAULT_CODE_MASK 0xFFu /* fault code */
#define BETA_FAULT_FIELD_SHIFT 8u /* byte offset of the offending descriptor field, or of the register for CONFIG */
#define BETA_FAULT_FIELD_MASK 0xFFu /* byte offset of the offending descriptor field, or of the register for CONFIG */
#define BETA_REG_FAULT_AT 0x8Cu /* device: window offset of the offending access */
#define BETA_REG_CYCLES 0x90u /* device: busy cycles (wraps, not bit-exact) */
#define BETA_REG_BEATS 0x94u /* device: beats computed (wraps, not bit-exact) */
#define BETA_REG_RD_BEATS 0x98u /* device: beats read (wraps, not bit-exact) */
#define BETA_REG_WR_BEATS 0x9Cu /* device: beats written (wraps, not bit-exact) */

#define BETA_OP_NOP 0x00u /* completes at once; only flags and the reserved fields are checked */
#define BETA_OP_QMM 0x01u /* quantized matrix multiplication */

#define BETA_FLAG_TABLE_BY_ROW 0x01u /* the epilogue table is indexed by m instead of n */
#define BETA_FLAG_EARLY_B 0x02u /* B and the table may be fetched before earlier descriptors complete; performance only */

#define BETA_FAULT_NONE 0x00u /* no fault */
#define BETA_FAULT_CONFIG 0x01u /* WIN_* or RING* is not acceptable when RUN rises; FIELD is the register offset */
#define BETA_FAULT_RING 0x02u /* TAIL - HEAD > 2^n: the ring was overrun */
#define BETA_FAULT_OP 0x03u /* unknown op, or unknown flag bits */
#define BETA_FAULT_RESERVED 0x04u /* a reserved field is not zero */
#define BETA_FAULT_FORMAT 0x05u /* a_fmt, b_fmt or o_fmt is no supported format */
#define BETA_FAULT_SHAPE 0x06u /* M, N or K is 0, k0 or n0 is out of range, a stride is shorter than its row, or int32 output has a table */
#define BETA_FAULT_LIMIT 0x07u /* K > MAX_K, or ceil((k0+K)/128) * bits > MAX_KP */
#define BETA_FAULT_ALIGN 0x08u /* an offset or stride is not a multiple of 16 */
#define BETA_FAULT_BOUNDS 0x09u /* an operand reaches past the window; FAULT_AT is its offset */
#define BETA_FAULT_FETCH 0x10u /* bus error on a descriptor fetch */
#define BETA_FAULT_READ 0x11u /* bus error on an operand read */
#define BETA_FAULT_WRITE 0x12u /* bus error on an output write */

#define BETA_ENC_U 0u /* unsigned: sum of 2^i b_i */
#define BETA_ENC_S 1u /* two's complement; the only encoding of int16 and int32 */
#define BETA_ENC_PM1 2u /* plus or minus one: 2b-1, 1 bit only */
#define BETA_FMT_WIDTH_MASK 0x07u /* log2 of the width */
#define BETA_FMT_ENC_SHIFT 4u /* encoding */
#define BETA_FMT_ENC_MASK 0x03u /* encoding */
#define BETA_FMT_OPERAND_MAX_LOG2 3u /* widest operand */
#define BETA_FMT_OUTPUT_MAX_LOG2 5u /* widest output */

typedef struct beta_descriptor {
  uint8_t op; /* operation */
  uint8_t flags; /* flags */
  uint8_t a_fmt; /* format of A */
  uint8_t b_fmt; /* format of B */
  uint8_t o_fmt; /* format of the output */
  uint8_t k0; /* first element inside the first block, 0..127, both operands */
  uint8_t n0; /* first output column inside the first block, 0..120, a multiple of 8; 0 for int16 and int32 */
  uint8_t reserved0; /* zero */
  uint32_t m; /* rows of A and of the output */
  uint32_t n; /* rows of B, columns of the output */
  uint32_t k; /* elements of the dot product */
  uint32_t a_off; /* A, window offset */
  uint32_t a_stride; /* bytes from one row of A to the next */
  uint32_t b_off; /* B, window offset */
  uint32_t b_stride; /* bytes from one row of B to the next */
  uint32_t o_off; /* output, window offset */
  uint32_t o_stride; /* bytes from one output row to the next */
  uint32_t e_off; /* epilogue table, window offset; 0 for int32 output */
  uint32_t reserved1; /* zero */
  uint32_t reserved2; /* zero */
  uint32_t reserved3; /* zero */
  uint32_t tag; /* ignored by the device */
} beta_descriptor;
_Static_assert(sizeof(beta_descriptor) == 64, "layout of beta_descriptor");
_Static_assert(offsetof(beta_descriptor, op) == 0, "offset of beta_descriptor.op");
_Static_assert(offsetof(beta_descriptor, flags) == 1, "offset of beta_descriptor.flags");
_Static_assert(offsetof(beta_descriptor, a_fmt) == 2, "offset of beta_descriptor.a_fmt");
_Static_assert(offsetof(beta_descriptor, b_fmt) == 3, "offset of beta_descriptor.b_fmt");
_Static_assert(offsetof(beta_descriptor, o_fmt) == 4, "offset of beta_descriptor.o_fmt");
_Static_assert(offsetof(beta_descriptor, k0) == 5, "offset of beta_descriptor.k0");
_Static_assert(offsetof(beta_descriptor, n0) == 6, "offset of beta_descriptor.n0");
_Static_assert(offsetof(beta_descriptor, reserved0) == 7, "offset of beta_descriptor.reserved0");
_Static_assert(offsetof(beta_descriptor, m) == 8, "offset of beta_descriptor.m");
_Static_assert(offsetof(beta_descriptor, n) == 12, "offset of beta_descriptor.n");
_Static_assert(offsetof(beta_descriptor, k) == 16, "offset of beta_descriptor.k");
_Static_assert(offsetof(beta_descriptor, a_off) == 20, "offset of beta_descriptor.a_off");
_Static_assert(offsetof(beta_descriptor, a_stride) == 24, "offset of beta_descriptor.a_stride");
_Static_assert(offsetof(beta_descriptor, b_off) == 28, "offset of beta_descriptor.b_off");
_Static_assert(offsetof(beta_descriptor, b_stride) == 32, "offset of beta_descriptor.b_stride");
_Static_assert(offsetof(beta_descriptor, o_off) == 36, "offset of beta_descriptor.o_off");
_Static_assert(offsetof(beta_descriptor, o_stride) == 40, "offset of beta_descriptor.o_stride");
_Static_assert(offsetof(beta_descriptor, e_off) == 44, "offset of beta_descriptor.e_off");
_Static_assert(offsetof(beta_descriptor, reserved1) == 48, "offset of beta_descriptor.reserved1");
_Static_assert(offsetof(beta_descriptor, reserved2) == 52, "offset of beta_descriptor.reserved2");
_Static_assert(offsetof(beta_descriptor, reserved3) == 56, "offset of beta_descriptor.reserved3");
_Static_assert(offsetof(beta_descriptor, tag) == 60, "offset of beta_descriptor.tag");

#endif
