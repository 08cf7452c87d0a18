/** Tensors of a checkpoint by name, with shapes and values checked, and a record of which were used. */
import { quote } from './checkpoint/errors.js';
import type { Checkpoint } from './checkpoint/open.js';
import type { SourceTensor } from './checkpoint/tensor.js';
import { ImportError } from './import-error.js';

/** DataParallel prefixes every name; it says nothing about the model. */
const WRAPPER = 'module.';

/** A bare encoder (BertModel) is saved without the prefix that its tensors have inside a model with a head. */
const ENCODER = 'bert.';
const BARE = ['embeddings.', 'encoder.', 'pooler.'];

/** Names as a model with a head has them. */
function unwrapped(tensors: ReadonlyMap<string, SourceTensor>): ReadonlyMap<string, SourceTensor> {
  const names = [...tensors.keys()];
  const strip = names.length > 0 && names.every((name) => name.startsWith(WRAPPER)) ? WRAPPER.length : 0;
  const bare = !names.some((name) => name.startsWith(ENCODER, strip));
  if (strip === 0 && !bare) return tensors;
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const inner = name.slice(strip);
      return [bare && BARE.some((part) => inner.startsWith(part)) ? ENCODER + inner : inner, tensor];
    }),
  );
}

/** A model trained in float32 has nothing beyond it; sums of such values stay finite in double. */
const LARGEST_VALUE = (2 - 2 ** -23) * 2 ** 127;

/** Names that a remark about unused tensors shows. */
const NAMES_SHOWN = 5;

export class TensorSource {
  readonly #tensors: ReadonlyMap<string, SourceTensor>;
  readonly #file: string;
  readonly #unused: Set<string>;

  constructor(checkpoint: Checkpoint) {
    this.#tensors = unwrapped(checkpoint.tensors);
    this.#file = checkpoint.file;
    this.#unused = new Set(this.#tensors.keys());
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** True where a part of the model, such as `bert.pooler`, has any tensor. */
  hasPart(part: string): boolean {
    return this.#namesOf(part).length > 0;
  }

  /** Marks all tensors of a part as known to have no effect. */
  ignorePart(part: string): void {
    for (const name of this.#namesOf(part)) this.#unused.delete(name);
  }

  /** Marks a tensor as known to have no effect. */
  ignore(name: string): void {
    this.#unused.delete(name);
  }

  /** First dimension of a matrix, the size that a config may not know: `least` to `most`. */
  rows(name: string, least: number, most: number): number {
    const { shape } = this.#get(name);
    if (shape.length !== 2)
      throw new ImportError('wrong-shape', `${this.#file}: ${name} has shape [${shape}], a matrix is needed`);
    const [rows] = shape;
    if (rows! < least || rows! > most)
      throw new ImportError(
        'wrong-shape',
        `${this.#file}: ${name} has shape [${shape}], ${least} to ${most} rows are possible`,
      );
    return rows!;
  }

  /** Row-major values of a weight matrix, all finite, as stored: a float64 file keeps its last bits for the sign decisions. */
  weights(name: string, rows: number, cols: number): Float32Array | Float64Array {
    return this.#values(name, [rows, cols]);
  }

  /** Row-major values of a full-precision matrix, all finite. */
  matrix(name: string, rows: number, cols: number): Float32Array {
    return toFloat32(this.#values(name, [rows, cols]));
  }

  vector(name: string, length: number): Float32Array {
    return toFloat32(this.#values(name, [length]));
  }

  /** A scalar: shape [], or [1] from other versions of the saving code. */
  scalar(name: string): number {
    const { shape } = this.#get(name);
    return this.#values(name, shape.length === 0 ? [] : [1])[0]!;
  }

  /** Warns about tensors that no importer step asked for, so that a misunderstanding does not go unseen. */
  reportUnused(warn: (message: string) => void): void {
    const names = [...this.#unused].filter((name) => !name.endsWith('.position_ids'));
    if (names.length === 0) return;
    const shown = names.slice(0, NAMES_SHOWN).map(quote).join(', ');
    const more = names.length > NAMES_SHOWN ? ', ...' : '';
    warn(
      `${names.length} ${names.length === 1 ? 'tensor has' : 'tensors have'} no meaning to this importer, left out: ${shown}${more}`,
    );
  }

  #namesOf(part: string): string[] {
    return [...this.#tensors.keys()].filter((name) => name.startsWith(`${part}.`));
  }

  #get(name: string): SourceTensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      throw new ImportError(
        'missing-tensor',
        `${this.#file}: no tensor ${name}; was the whole model saved, with its head?`,
      );
    }
    this.#unused.delete(name);
    return tensor;
  }

  #values(name: string, shape: readonly number[]): Float32Array | Float64Array {
    const tensor = this.#get(name);
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
      throw new ImportError(
        'wrong-shape',
        `${this.#file}: ${name} has shape [${tensor.shape}], config.json makes it [${shape}]`,
      );
    }
    if (!tensor.dtype.startsWith('F') && tensor.dtype !== 'BF16') {
      throw new ImportError(
        'wrong-shape',
        `${this.#file}: ${name} has type ${tensor.dtype}, floating point is needed`,
      );
    }
    const values = tensor.values();
    for (let i = 0; i < values.length; i++) {
      // Written so that NaN fails too.
      if (!(Math.abs(values[i]!) <= LARGEST_VALUE)) {
        throw new ImportError(
          'bad-values',
          `${this.#file}: ${name} holds ${values[i]} at element ${i}; the training run diverged or the file is damaged`,
        );
      }
    }
    return values;
  }
}

const toFloat32 = (values: Float32Array | Float64Array) =>
  values instanceof Float32Array ? values : new Float32Array(values);
