/** Requests and answers as tensors, in the shape of the Open Inference Protocol (KServe v2). */
import { z } from 'zod';
import { priority, replyTo, requestId } from './infer.js';

/** Types of input tensors; in CBOR, `data` may be a typed array (RFC 8746). */
export const INPUT_TYPES = ['BYTES', 'INT64', 'INT32', 'UINT32', 'UINT64', 'BOOL'] as const;

const shape = z.array(z.int().min(0)).min(1).max(3);
// Checked element by element by whoever reads them: a schema would report every wrong one.
const data = z.unknown().describe('row-major, flat; in CBOR also a typed array (RFC 8746)');

export const TensorRequestSchema = z.strictObject({
  inputs: z
    .array(
      z.strictObject({
        name: z.enum(['text', 'text_pair', 'input_ids', 'token_type_ids', 'attention_mask']),
        shape: shape.describe('[n] for texts, [n, tokens] for the others'),
        datatype: z.enum(INPUT_TYPES),
        data,
      }),
    )
    .min(1)
    .max(5)
    .describe(
      '`text` (and `text_pair`), or `input_ids` (and `token_type_ids`, `attention_mask`: 0 for what is padding, at the end of a row)',
    ),
  outputs: z
    .array(z.strictObject({ name: z.string().max(64) }))
    .max(8)
    .describe('names of the outputs that are wanted; all where left out')
    .optional(),
  parameters: z.strictObject({ priority: priority.optional(), truncate: z.boolean().optional() }).optional(),
  id: requestId.optional(),
  replyTo: replyTo.optional(),
});
export type TensorRequest = z.infer<typeof TensorRequestSchema>;

export const TensorAnswerSchema = z.object({
  model_name: z.string(),
  model_version: z.string().describe('name and digest of the artifact'),
  id: requestId.optional(),
  outputs: z.array(
    z.object({
      name: z.string(),
      shape,
      datatype: z.enum(['FP32', 'BYTES']),
      data: z
        .unknown()
        .describe('row-major, flat; in CBOR FP32 is a typed array (RFC 8746, tag 85). Rows of padding are 0'),
    }),
  ),
  parameters: z.object({
    device: z.string(),
    node: z.string(),
    queue_ms: z.number(),
    compute_ms: z.number(),
    total_ms: z.number(),
  }),
});
export type TensorAnswer = z.infer<typeof TensorAnswerSchema>;
