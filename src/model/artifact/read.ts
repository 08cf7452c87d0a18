/** Opens artifacts: checks everything but the tensors' bytes, which load() brings straight into the window and verifies. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';
import { CheckpointError } from '../checkpoint/errors.js';
import {
  LENGTH_BYTES,
  parseSafetensorsHeader,
  type SafetensorsHeader,
  safetensorsHeaderLength,
} from '../checkpoint/safetensors.js';
import { type Plan, planSchema } from '../plan.js';
import { TextTokenizer, tokenizerSchema } from '../tokenizer.js';
import { PlanChecker } from './check.js';
import { ArtifactError } from './errors.js';
import {
  ARTIFACT_FORMAT,
  FILE_BYTES_MAX,
  KEY,
  NAME_PATTERN,
  type Provenance,
  provenanceSchema,
  TENSOR_ALIGN,
} from './format.js';

/** Reads `bytes` bytes at `position` into `target`; throws when the file ends early. */
function readFully(fd: number, target: Uint8Array, position: number, file: string): void {
  for (let done = 0; done < target.byteLength; ) {
    const got = readSync(fd, target, done, target.byteLength - done, position + done);
    if (got === 0) throw new ArtifactError('truncated', file, 'it became shorter while it was read');
    done += got;
  }
}

/** Parses one metadata entry. */
function entry<T>(
  file: string,
  metadata: ReadonlyMap<string, string>,
  key: string,
  code: string,
  schema: z.ZodType<T>,
): T {
  const text = metadata.get(key);
  if (text === undefined)
    throw new ArtifactError(
      code,
      file,
      `its metadata has no ${key}; it is a safetensors file but no .beta artifact`,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ArtifactError(code, file, `${key} is not JSON (${(error as Error).message.slice(0, 200)})`);
  }
  const result = schema.safeParse(value);
  if (!result.success)
    throw new ArtifactError(code, file, `${key}: ${z.prettifyError(result.error).slice(0, 1000)}`);
  return result.data;
}

function readHeader(
  fd: number,
  size: number,
  file: string,
): { header: SafetensorsHeader; bytes: Uint8Array } {
  const length = new Uint8Array(Math.min(LENGTH_BYTES, size));
  readFully(fd, length, 0, file);
  try {
    const bytes = new Uint8Array(LENGTH_BYTES + safetensorsHeaderLength(length, size, file));
    readFully(fd, bytes, 0, file);
    return { header: parseSafetensorsHeader(bytes, size, file), bytes };
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new ArtifactError(error.code, file, error.message.replace(`${file}: `, ''));
    throw error;
  }
}

/** The file's name without its ending; what cannot stand in a model name becomes "-", so "my_model 2.beta" is my-model-2. */
function nameOfFile(file: string): string {
  const name = basename(file)
    .replace(/\.beta$/i, '')
    .toLowerCase();
  if (NAME_PATTERN.test(name)) return name;
  const words = name.split(/[^a-z0-9]+/).filter((word) => word !== '');
  return words.join('-').slice(0, 63);
}

/** The name of a model: the metadata's, or the file's. */
function modelName(file: string, metadata: ReadonlyMap<string, string>): string {
  const name = metadata.get(KEY.name) ?? nameOfFile(file);
  if (!NAME_PATTERN.test(name)) {
    throw new ArtifactError(
      'bad-header',
      file,
      `${JSON.stringify(name.slice(0, 80))} is no model name (a to z, 0 to 9 and "-", at most 63); rename the file, or import it again with --name`,
    );
  }
  return name;
}

/** An artifact whose header has been checked. */
export class Artifact {
  readonly file: string;
  readonly name: string;
  /** name@ and the first 12 digits of the header's SHA-256, which covers the data's own: says exactly which model this is. */
  readonly id: string;
  readonly plan: Plan;
  readonly #tokenizer: TextTokenizer | undefined;
  readonly provenance: Provenance;
  /** Bytes of the file and of its data section. */
  readonly fileBytes: number;
  readonly dataBytes: number;
  /** Offset of each tensor in the data section, and its bytes. */
  readonly tensors: ReadonlyMap<string, { readonly off: number; readonly bytes: number }>;
  readonly #dataStart: number;
  readonly #dataSha256: string;

  private constructor(
    file: string,
    fileBytes: number,
    header: SafetensorsHeader,
    headerBytes: Uint8Array,
    withTokenizer: boolean,
  ) {
    const { metadata } = header;
    this.file = file;
    const format = metadata.get(KEY.format);
    if (format === undefined)
      throw new ArtifactError(
        'bad-header',
        file,
        'it is a safetensors file but no .beta artifact; make one with "beta import"',
      );
    if (!/^[1-9][0-9]*$/.test(format))
      throw new ArtifactError(
        'bad-header',
        file,
        `${KEY.format} is ${JSON.stringify(format.slice(0, 20))}, no number`,
      );
    if (format !== String(ARTIFACT_FORMAT)) {
      throw new ArtifactError(
        'newer-format',
        file,
        `it has artifact format ${format.slice(0, 20)}, this version reads ${ARTIFACT_FORMAT}; update beta or import the checkpoint again`,
      );
    }
    this.name = modelName(file, metadata);
    this.id = `${this.name}@${createHash('sha256').update(headerBytes).digest('hex').slice(0, 12)}`;
    this.plan = entry(file, metadata, KEY.plan, 'bad-plan', planSchema);
    this.provenance = entry(file, metadata, KEY.provenance, 'bad-header', provenanceSchema);
    this.#tokenizer = withTokenizer ? this.#readTokenizer(metadata) : undefined;
    this.fileBytes = fileBytes;
    this.#dataStart = header.dataStart;
    this.dataBytes = fileBytes - header.dataStart;
    this.#dataSha256 = metadata.get(KEY.data) ?? '';
    if (!/^[0-9a-f]{64}$/.test(this.#dataSha256))
      throw new ArtifactError('bad-header', file, `its metadata has no ${KEY.data} of 64 hex digits`);
    this.tensors = new Map(
      [...header.tensors].map(([name, { begin, end }]) => [name, { off: begin, bytes: end - begin }]),
    );
    this.#checkTensors(header);
  }

  /**
   * Opens and checks an artifact. Throws ArtifactError. `tokenizer: false` leaves out the vocabulary, which is the larger part of what an open
   * artifact holds in memory: for who runs token ids alone.
   */
  static open(file: string, { tokenizer = true }: { readonly tokenizer?: boolean } = {}): Artifact {
    return Artifact.#withFile(file, (fd, size) => {
      const { header, bytes } = readHeader(fd, size, file);
      return new Artifact(file, size, header, bytes, tokenizer);
    });
  }

  /** From text to token ids. */
  get tokenizer(): TextTokenizer {
    if (this.#tokenizer) return this.#tokenizer;
    throw new Error(`${this.file} was opened without its tokenizer`);
  }

  /** Reads the data section into `target`, dataBytes long, and verifies it. Throws ArtifactError. */
  load(target: Uint8Array): void {
    if (target.byteLength !== this.dataBytes)
      throw new RangeError(`a target of ${target.byteLength} bytes for ${this.dataBytes} bytes of data`);
    Artifact.#withFile(this.file, (fd, size) => {
      if (size !== this.fileBytes)
        throw new ArtifactError('damaged', this.file, 'it changed since it was opened');
      readFully(fd, target, this.#dataStart, this.file);
    });
    if (createHash('sha256').update(target).digest('hex') !== this.#dataSha256) {
      throw new ArtifactError(
        'damaged',
        this.file,
        'its data does not have the SHA-256 that its header states; copy it again from where it was made',
      );
    }
  }

  static #withFile<T>(file: string, use: (fd: number, size: number) => T): T {
    let fd: number;
    try {
      // Non-blocking: opening a named pipe must not wait for a writer that never comes.
      fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw new ArtifactError(
        'not-found',
        file,
        `cannot be opened (${(error as NodeJS.ErrnoException).code ?? error})`,
      );
    }
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile())
        throw new ArtifactError(
          'not-found',
          file,
          'it is no file; give a .beta artifact, made with "beta import"',
        );
      if (stat.size > FILE_BYTES_MAX)
        throw new ArtifactError('bad-header', file, `${stat.size} bytes are more than a DMA window can hold`);
      return use(fd, stat.size);
    } finally {
      closeSync(fd);
    }
  }

  #readTokenizer(metadata: ReadonlyMap<string, string>): TextTokenizer {
    const settings = entry(this.file, metadata, KEY.tokenizer, 'bad-tokenizer', tokenizerSchema);
    if (settings.vocabulary.length > this.plan.embeddings.words[0]!.planes.rows) {
      throw new ArtifactError(
        'bad-tokenizer',
        this.file,
        `${settings.vocabulary.length} tokens for an embedding table of ${this.plan.embeddings.words[0]!.planes.rows} rows`,
      );
    }
    try {
      return new TextTokenizer(settings);
    } catch (error) {
      throw new ArtifactError('bad-tokenizer', this.file, (error as Error).message);
    }
  }

  #checkTensors({ tensors, dataStart }: SafetensorsHeader): void {
    if (dataStart % TENSOR_ALIGN !== 0)
      throw new ArtifactError(
        'bad-tensor',
        this.file,
        `its data starts at byte ${dataStart}, no multiple of ${TENSOR_ALIGN}`,
      );
    for (const [name, { dtype, begin }] of tensors) {
      if (dtype !== 'U8' || begin % TENSOR_ALIGN !== 0) {
        throw new ArtifactError(
          'bad-tensor',
          this.file,
          `tensor ${JSON.stringify(name).slice(0, 100)} is ${dtype} at ${begin}; U8 at multiples of ${TENSOR_ALIGN} is needed`,
        );
      }
    }
    try {
      new PlanChecker(new Map([...this.tensors].map(([name, { bytes }]) => [name, bytes]))).check(this.plan);
    } catch (error) {
      throw new ArtifactError('bad-plan', this.file, (error as Error).message);
    }
  }
}
