/** Shapes of synthetic models: those of published BERTs, or any other. */

export interface SyntheticShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  /** Words in the vocabulary. */
  readonly vocab: number;
  readonly positions: number;
  readonly labels: number;
}

const shape = (layers: number, hidden: number): SyntheticShape => ({
  layers,
  hidden,
  heads: hidden / 64,
  intermediate: 4 * hidden,
  vocab: 30_522,
  positions: 512,
  labels: 2,
});

/** By name: BERT's sizes (arXiv 1908.08962 for the smaller ones). */
export const PRESETS: Readonly<Record<string, SyntheticShape>> = {
  'bert-tiny': shape(2, 128),
  'bert-mini': shape(4, 256),
  'bert-small': shape(4, 512),
  'bert-medium': shape(8, 512),
  'bert-base': shape(12, 768),
  'bert-large': shape(24, 1024),
};
