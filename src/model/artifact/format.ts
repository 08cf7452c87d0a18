/**
 * The `.beta` artifact: a valid safetensors file whose tensors are U8, 64-byte aligned and already in the engine's layout, so that
 * loading is one read into the DMA window. What the bytes mean is in the metadata (docs/artifact.md).
 */
import { z } from 'zod';

/** Format of the metadata; a reader refuses a newer one. */
export const ARTIFACT_FORMAT = 2;

/** Alignment of every tensor and of the data section; tensors are padded to it with zeros. */
export const TENSOR_ALIGN = 64;

/** Metadata keys. */
export const KEY = {
  format: 'beta.format',
  name: 'beta.name',
  plan: 'beta.plan',
  tokenizer: 'beta.tokenizer',
  provenance: 'beta.provenance',
  /** SHA-256 of the data section, hex. */
  data: 'beta.data.sha256',
} as const;

/** Model names and node ids (docs/mqtt.md). */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** The DMA window, and so every artifact, is below 4 GiB. */
export const FILE_BYTES_MAX = 2 ** 32 - 1;

/** What provenance keeps of the importer's warnings. */
export const WARNINGS_MAX = 1000;
export const WARNING_CHARS_MAX = 2000;

/** Where a model came from. No dates, no paths: the same checkpoint gives the same bytes. */
export const provenanceSchema = z.strictObject({
  family: z.string().max(100),
  /** Base name and SHA-256 of the weights file. */
  source: z.string().max(300),
  sourceSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Package version that compiled it. */
  compiler: z.string().max(100),
  /** What the importer warned about. */
  warnings: z.array(z.string().max(WARNING_CHARS_MAX)).max(WARNINGS_MAX),
});

export type Provenance = z.infer<typeof provenanceSchema>;

export function paddedBytes(bytes: number): number {
  return Math.ceil(bytes / TENSOR_ALIGN) * TENSOR_ALIGN;
}
