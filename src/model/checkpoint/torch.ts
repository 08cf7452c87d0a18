// What torch.save writes since torch 1.6: a zip of <prefix>/data.pkl and one entry <prefix>/data/<key> for
// each storage (torch/serialization.py, caffe2/serialize/inline_container.h).
import { CheckpointError, FETCH_AGAIN, quote } from './errors.js';
import type { BoundedFile } from './file.js';
import { MAX_NAME_LENGTH, MAX_PICKLE_BYTES, MAX_TENSORS } from './limits.js';
import { unpickle } from './pickle.js';
import { type PickleValue, TensorRef, typeName } from './pickle-values.js';
import { gatherStrided, spanOf } from './strides.js';
import { DTYPE_BYTES, decodeElements, type SourceTensor } from './tensor.js';
import { openZip, type ZipEntry } from './zip.js';

/** The keys under which training scripts put the state dict beside an optimizer or an epoch number. */
const WRAPPERS = ['state_dict', 'model'];

const SAVE_STATE_DICT = 'Save the weights with torch.save(model.state_dict(), file)';

/**
 * The tensors of an open torch zip file; values are read when asked for.
 *
 * @returns tensors by name, in the order of the state dict
 * @throws CheckpointError `corrupt-zip`, `bad-crc`, `forbidden-pickle`, `bad-pickle`, `bad-tensor`,
 *   `too-large` or `unsupported-format`
 */
export async function openTorch(file: BoundedFile): Promise<Map<string, SourceTensor>> {
  const entries = await openZip(file);
  const prefix = findPrefix(entries, file.path);
  checkByteOrder(entries.get(`${prefix}/byteorder`), file.path);
  const pickle = entries.get(`${prefix}/data.pkl`)!;
  if (pickle.size > MAX_PICKLE_BYTES)
    throw new CheckpointError(
      'too-large',
      file.path,
      `${quote(pickle.name)} has ${pickle.size} bytes, the limit is ${MAX_PICKLE_BYTES}`,
      SAVE_STATE_DICT,
    );
  const top = unpickle(pickle.read(0, pickle.size), file.path);
  const result = new Map<string, SourceTensor>();
  for (const [name, tensor] of stateDict(top, file.path)) {
    // Beside tensors a state dict may carry plain extra state; only tensors matter here.
    if (!(tensor instanceof TensorRef)) continue;
    if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH)
      throw new CheckpointError(
        'bad-tensor',
        file.path,
        `a tensor's name is a ${typeName(name)}, not a string of at most ${MAX_NAME_LENGTH} characters`,
        SAVE_STATE_DICT,
      );
    if (result.size >= MAX_TENSORS)
      throw new CheckpointError(
        'too-large',
        file.path,
        `it has more than ${MAX_TENSORS} tensors`,
        SAVE_STATE_DICT,
      );
    result.set(
      name,
      torchTensor(name, tensor, entries.get(`${prefix}/data/${tensor.storage.key}`), file.path),
    );
  }
  if (result.size === 0)
    throw new CheckpointError(
      'unsupported-format',
      file.path,
      'there is no tensor in its state dict',
      SAVE_STATE_DICT,
    );
  return result;
}

/** torch names the folder after the file, so any name will do, but there is exactly one. */
function findPrefix(entries: ReadonlyMap<string, ZipEntry>, file: string): string {
  const prefixes = [...entries.keys()]
    .filter((name) => /^[^/]+\/data\.pkl$/.test(name))
    .map((name) => name.slice(0, name.indexOf('/')));
  const [prefix] = prefixes;
  if (prefix === undefined || prefixes.length > 1)
    throw new CheckpointError(
      'unsupported-format',
      file,
      `it is a zip file with ${prefixes.length} entries "<name>/data.pkl", a torch checkpoint has one`,
      SAVE_STATE_DICT,
    );
  if (entries.has(`${prefix}/constants.pkl`))
    throw new CheckpointError(
      'unsupported-format',
      file,
      'it is a TorchScript archive, that is code',
      'Load it with torch.jit.load and save its state_dict() with torch.save',
    );
  return prefix;
}

function checkByteOrder(entry: ZipEntry | undefined, file: string): void {
  // Absent before torch 2.1, when all files were little-endian.
  if (entry === undefined) return;
  const order = entry.size <= 16 ? new TextDecoder().decode(entry.read(0, entry.size)) : '';
  if (order !== 'little')
    throw new CheckpointError(
      'unsupported-format',
      file,
      `its byte order is ${quote(order)}`,
      'Save it again on a little-endian machine, or convert it to safetensors',
    );
}

/** The dict that holds the tensors: the top level, or what a training script wrapped once. */
function stateDict(top: PickleValue, file: string): ReadonlyMap<PickleValue, PickleValue> {
  if (!(top instanceof Map))
    throw new CheckpointError(
      'unsupported-format',
      file,
      `it holds a ${typeName(top)}, not a state dict`,
      SAVE_STATE_DICT,
    );
  for (const key of WRAPPERS) {
    const inner = top.get(key);
    if (inner instanceof Map) return inner;
  }
  return top;
}

function torchTensor(
  name: string,
  tensor: TensorRef,
  entry: ZipEntry | undefined,
  file: string,
): SourceTensor {
  const { storage, offset, shape, strides } = tensor;
  const itemBytes = DTYPE_BYTES[storage.dtype];
  if (entry === undefined)
    throw new CheckpointError(
      'bad-tensor',
      file,
      `storage ${quote(storage.key)} of tensor ${quote(name)} is not in the zip`,
      FETCH_AGAIN,
    );
  if (entry.size !== storage.elements * itemBytes)
    throw new CheckpointError(
      'bad-tensor',
      file,
      `storage ${quote(storage.key)} of tensor ${quote(name)} should have ${storage.elements} elements of ${storage.dtype}, its entry has ${entry.size} bytes`,
      FETCH_AGAIN,
    );
  return {
    name,
    dtype: storage.dtype,
    shape,
    values: () => {
      const span = spanOf(shape, strides);
      const elements = decodeElements(storage.dtype, entry.read(offset * itemBytes, span * itemBytes), file);
      return gatherStrided(elements, shape, strides, file);
    },
  };
}
