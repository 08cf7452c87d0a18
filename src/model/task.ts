/** What a model is for: which head stands on the encoder. */

export const TASKS = [
  'sequence-classification',
  'token-classification',
  'question-answering',
  'hidden-states',
] as const;

export type Task = (typeof TASKS)[number];
