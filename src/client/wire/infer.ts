/** Requests in words and ids, and their answers. */
import { z } from 'zod';

/** Longest `id`, UTF-16 units. */
export const MAX_ID_LENGTH = 256;

/** How much of the engine a request may claim while there is more work than engine: 1, 4 and 16 parts. */
export const PRIORITIES = ['low', 'normal', 'high'] as const;
export type Priority = (typeof PRIORITIES)[number];

export const requestId = z
  .union([z.string().max(MAX_ID_LENGTH), z.number()])
  .describe('comes back in the answer: how 3.1.1 clients match answers to requests');
export const replyTo = z
  .string()
  .describe('topic for the answer; the MQTT 5 response topic takes precedence');
export const priority = z
  .enum(PRIORITIES)
  .describe('share of the engine while there is more work than engine (1 : 4 : 16); default normal');

export const RequestSchema = z
  .strictObject({
    text: z.string().describe('one sentence: a flat answer').optional(),
    text_pair: z.string().describe('with `text`: the second sentence of a pair').optional(),
    texts: z
      .array(z.string())
      .min(1, 'must have at least one text')
      .describe('several sentences: an answer with `results` in the same order')
      .optional(),
    text_pairs: z.array(z.string()).describe('with `texts`: the second sentence of each, as many').optional(),
    input_ids: z
      .array(z.array(z.number()))
      .min(1, 'must have at least one list of ids')
      .describe('token ids, special tokens in place, one list for each sequence: an answer with `results`')
      .optional(),
    token_type_ids: z
      .array(z.array(z.number()))
      .describe('with `input_ids`: the token type of each id; 0 where left out')
      .optional(),
    id: requestId.optional(),
    replyTo: replyTo.optional(),
    logits: z
      .boolean()
      .describe('adds the logits, in the order of the labels, where results are labels')
      .optional(),
    top: z
      .int()
      .min(1)
      .describe('adds the n most probable labels; for models that give one label for an input')
      .optional(),
    truncate: z.boolean().describe('cuts texts that are too long instead of refusing them').optional(),
    priority: priority.optional(),
  })
  .refine(
    ({ text, texts, input_ids }) => [text, texts, input_ids].filter((v) => v !== undefined).length === 1,
    {
      message: 'give exactly one of "text", "texts" and "input_ids"',
    },
  )
  .refine(({ input_ids, truncate }) => input_ids === undefined || truncate === undefined, {
    message: '"truncate" is for texts; input_ids are taken as they are or refused',
  })
  .refine(({ text, text_pair }) => text_pair === undefined || text !== undefined, {
    message: '"text_pair" is the second text of "text"; with "texts" give "text_pairs"',
  })
  .refine(({ texts, text_pairs }) => text_pairs === undefined || text_pairs.length === texts?.length, {
    message: '"text_pairs" are the second texts of "texts": give as many',
  })
  .refine(
    ({ input_ids, token_type_ids }) =>
      token_type_ids === undefined ||
      (token_type_ids.length === input_ids?.length &&
        token_type_ids.every((types, row) => types.length === input_ids[row]?.length)),
    { message: '"token_type_ids" belong to "input_ids": one for each id' },
  );

export type RequestPayload = z.infer<typeof RequestSchema>;

const truncated = z.literal(true).describe('the text was cut').optional();

/** Result of sequence classification. */
export const LabelResultSchema = z.object({
  label: z.string(),
  score: z.number().describe('softmax probability of the label, 0 to 1'),
  logits: z.array(z.number()).describe('in the order of the labels').optional(),
  top: z
    .array(z.object({ label: z.string(), score: z.number() }))
    .describe('the most probable labels')
    .optional(),
  tokens: z.int().describe('tokens of the input, special ones included, before it was cut'),
  truncated,
});

/** Heads that look at every token name the tokens. */
const tokens = z.array(z.string()).describe('all tokens, special ones included');

/** Result of token classification. */
export const TokenLabelsSchema = z.object({
  tokens,
  truncated,
  labels: z.array(z.string()).describe('one for each token'),
  scores: z.array(z.number()).describe('softmax probability of each label'),
  logits: z.array(z.array(z.number())).describe('[tokens][labels]').optional(),
});
/** Result of question answering: the best span of at most 31 tokens; null where there is none. */
export const SpanResultSchema = z.object({
  tokens,
  truncated,
  start_logits: z.array(z.number()).describe('one for each token'),
  end_logits: z.array(z.number()).describe('one for each token'),
  answer: z
    .object({
      start: z.int().describe('number of the first token'),
      end: z.int().describe('number of the last token'),
      text: z.string().describe('the tokens as text'),
      score: z.number().describe('probability of this start times that of this end'),
    })
    .nullable()
    .describe('the span with the largest sum of logits, at most 31 tokens; null where there are no words'),
});
/** The last layer's output. */
export const HiddenStatesSchema = z.object({
  tokens,
  truncated,
  shape: z.tuple([z.int(), z.int()]).describe('[tokens, hidden]'),
  hidden: z.array(z.number()).describe("the last layer's output, row after row"),
});

/** What a model gives for one input; its task decides which. */
export const ResultSchema = z.union([
  LabelResultSchema,
  TokenLabelsSchema,
  SpanResultSchema,
  HiddenStatesSchema,
]);

const commonFields = {
  id: requestId.optional(),
  model: z.object({
    name: z.string(),
    id: z.string().describe('name and digest: exactly which model this is'),
  }),
  device: z.string().describe('URI of the device that computed it'),
  node: z.string(),
  timings: z
    .object({
      queue_ms: z.number().describe('waiting for the engine'),
      compute_ms: z.number().describe("the engine's work on the batch the request was in"),
      total_ms: z.number().describe('arrival to answer within the node'),
    })
    .describe('milliseconds'),
};

/** Answer to `text`. */
export const AnswerSchema = z.intersection(ResultSchema, z.object(commonFields));
/** Answer to `texts` and `input_ids`. With one input it carries that result's fields at the top too. */
export const BatchAnswerSchema = z.object({
  ...commonFields,
  results: z.array(ResultSchema).describe('in the order of the inputs'),
});
/** Answer to whatever failed. */
export const FailureSchema = z.object({
  id: requestId.optional(),
  error: z.object({
    code: z.string().describe('stable; see the error codes'),
    message: z.string().describe('for people'),
  }),
  node: z.string(),
});

export type LabelResult = z.infer<typeof LabelResultSchema>;
export type TokenLabelsResult = z.infer<typeof TokenLabelsSchema>;
export type SpanResult = z.infer<typeof SpanResultSchema>;
export type HiddenStatesResult = z.infer<typeof HiddenStatesSchema>;
export type Result = z.infer<typeof ResultSchema>;
type Common = z.infer<ReturnType<typeof z.object<typeof commonFields>>>;
/** `R` is what the model's task gives, by default one label. */
export type Answer<R extends Result = LabelResult> = Common & R;
export type BatchAnswer<R extends Result = LabelResult> = Common & { results: R[] };
export type Failure = z.infer<typeof FailureSchema>;
