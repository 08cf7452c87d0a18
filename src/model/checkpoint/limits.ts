// Caps on everything a checkpoint can announce. They are far above real binary Transformers (a BERT-base
// file is 440 MB with 400 tensors) and low enough that no file, however hostile, exhausts the machine.

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Weights file: what a board or a laptop may be asked to hash in reasonable time. */
export const MAX_FILE_BYTES = 16 * GIB;

/** config.json: label maps of tens of thousands of classes stay below 4 MiB. */
export const MAX_CONFIG_BYTES = 4 * MIB;

/** Tensors in one file. Also bounds the time spent on sorting and checking them. */
export const MAX_TENSORS = 100_000;

/** Elements of one tensor: 1 GiB as float32, 2 GiB as float64, which one allocation still gives. */
export const MAX_TENSOR_ELEMENTS = 2 ** 28;

/** Dimensions of a tensor, as in torch. */
export const MAX_RANK = 64;

/** Characters of a tensor name; names go into error messages and tables. */
export const MAX_NAME_LENGTH = 1024;

/**
 * Elements of a tensor that is larger than its own storage (stride 0, overlapping windows). Such views
 * are legal, for example a broadcast buffer, but a few bytes must not turn into gigabytes.
 */
export const MAX_EXPANDED_ELEMENTS = 2 ** 20;

/** JSON header of a safetensors file: the limit of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Keys of a safetensors `__metadata__` map; real files have a handful. */
export const MAX_METADATA_ENTRIES = 10_000;

/** Zip entries: one storage for each tensor, and the few fixed ones torch adds. */
export const MAX_ZIP_ENTRIES = MAX_TENSORS + 64;

/** Inflated size of one deflated entry; it is inflated in memory. Stored entries are read in place. */
export const MAX_INFLATED_BYTES = GIB;

/** Sum of uncompressed sizes that needs no further justification, whatever the compression. */
export const FREE_INFLATED_BYTES = 64 * MIB;

/** Above FREE_INFLATED_BYTES a zip may not grow by more than this; float weights deflate to half at best. */
export const MAX_INFLATION_RATIO = 100;

/** data.pkl: torch writes about 220 bytes for a tensor, so 100,000 tensors fit. */
export const MAX_PICKLE_BYTES = 32 * MIB;

/** Pickle opcodes: torch uses about 40 for a tensor. Bounds time and, with it, memory. */
export const MAX_PICKLE_OPS = 8_000_000;

/** Containers a pickle may create: torch uses about 6 for a tensor, an empty one costs some 200 bytes here. */
export const MAX_PICKLE_CONTAINERS = 1_000_000;

/** Memo entries: torch uses about 9 for a tensor. */
export const MAX_PICKLE_MEMO = 2_000_000;

/** Values on the pickle stack; the pickler writes containers in batches of 1,000 items. */
export const MAX_PICKLE_STACK = 200_000;

/** Open marks, that is containers being built inside one another. */
export const MAX_PICKLE_MARKS = 1_000;

/** Bytes of one integer (LONG1, LONG4); a random generator's state is the largest in real files. */
export const MAX_PICKLE_LONG_BYTES = 256;
