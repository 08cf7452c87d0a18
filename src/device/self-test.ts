/**
 * The self-test: small products in every kind of format on the device and on the emulator, equal in every byte. It proves identity, ring,
 * addressing, cache maintenance, arithmetic and epilogue at once, in milliseconds.
 */
import { DESCRIPTOR_BYTES, FLAG, TABLE_ENTRY_BYTES } from './contract.generated.js';
import { type Encoding, encodeQmm, formatByte, formatName, planeRowBytes, type Width } from './descriptor.js';
import { Device } from './device.js';

interface Tile {
  readonly a: readonly [Width, Encoding];
  readonly b: readonly [Width, Encoding];
  readonly o: readonly [Width, Encoding];
  readonly k0?: number;
  readonly n0?: number;
  readonly byRow?: true;
}

const TILES: readonly Tile[] = [
  { a: [1, 'PM1'], b: [1, 'PM1'], o: [1, 'PM1'] },
  { a: [1, 'U'], b: [1, 'PM1'], o: [1, 'U'], k0: 64, n0: 8 },
  { a: [2, 'U'], b: [2, 'S'], o: [2, 'S'], byRow: true },
  { a: [4, 'U'], b: [1, 'PM1'], o: [4, 'U'] },
  { a: [8, 'U'], b: [2, 'S'], o: [8, 'S'] },
  { a: [8, 'S'], b: [8, 'S'], o: [16, 'S'], k0: 127 },
  { a: [8, 'U'], b: [1, 'PM1'], o: [32, 'S'] },
];

/** Ragged on purpose: no multiple of any block, lane or array. */
const [M, N, K] = [9, 37, 301];
/** Room for one operand of a tile: the most rows at 8 bits, and a row of int32. */
const OPERAND_BYTES = N * planeRowBytes(K, 8, 127);
const TABLE_BYTES = 64 * TABLE_ENTRY_BYTES;
const OUTPUT_BYTES = M * 640;
const TILE_BYTES = 2 * OPERAND_BYTES + TABLE_BYTES + OUTPUT_BYTES;
const BYTES = TILES.length * TILE_BYTES;

export interface SelfTestResult {
  readonly tiles: number;
  /** The formats of tiles whose bytes differ, such as "u8 x pm1 -> int32". */
  readonly wrong: readonly string[];
  readonly ms: number;
}

const supported = (device: Device, { a, b, o }: Tile) =>
  device.capabilities.aBits.includes(a[0]) &&
  device.capabilities.bBits.includes(b[0]) &&
  device.capabilities.oBits.includes(o[0]);

/** Operands, tables and stale output: repeatable, different for every seed. */
function fill(seed: number): Uint8Array {
  const bytes = new Uint8Array(BYTES);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  const view = new DataView(bytes.buffer);
  TILES.forEach((_, tile) => {
    for (let entry = 0; entry < TABLE_BYTES / TABLE_ENTRY_BYTES; entry++) {
      const at = tile * TILE_BYTES + 2 * OPERAND_BYTES + entry * TABLE_ENTRY_BYTES;
      // Biases and multipliers that leave results all over the range of every output.
      view.setInt32(at, view.getInt8(at), true);
      view.setInt32(at + 4, (view.getInt16(at + 4, true) << 5) | 1, true);
    }
  });
  return bytes;
}

/** Runs the tiles at a place of the window and returns what is there afterwards. */
function run(device: Device, tiles: readonly Tile[], content: Uint8Array): Uint8Array {
  const range = device.allocator.allocate(BYTES, 'the self-test');
  try {
    const descriptors = new Uint8Array(tiles.length * DESCRIPTOR_BYTES);
    const view = new DataView(descriptors.buffer);
    tiles.forEach(({ a, b, o, k0 = 0, n0 = 0, byRow }, index) => {
      const at = range.off + TILES.indexOf(tiles[index]!) * TILE_BYTES;
      const operand = ([bits, encoding]: Tile['a'], off: number) => ({
        off,
        stride: planeRowBytes(K, bits, k0),
        format: formatByte({ bits, encoding }),
      });
      encodeQmm(view, index * DESCRIPTOR_BYTES, {
        flags: byRow ? FLAG.TABLE_BY_ROW : 0,
        a: operand(a, at),
        b: operand(b, at + OPERAND_BYTES),
        o: { ...operand(o, at + 2 * OPERAND_BYTES + TABLE_BYTES), stride: 640 },
        m: M,
        n: N,
        k: K,
        k0,
        n0,
        ...(o[0] < 32 && { table: at + 2 * OPERAND_BYTES }),
      });
    });
    device.window.set(content, range.off);
    device.syncForDevice(range.off, BYTES);
    device.wait(device.submit(descriptors, 0, tiles.length));
    device.syncForCpu(range.off, BYTES);
    return device.window.slice(range.off, range.off + BYTES);
  } finally {
    device.allocator.free(range);
  }
}

/**
 * Runs the self-test. Needs about 400 KiB of free window for as long as it runs. Throws what the device throws; a wrong result is no
 * throw but in `wrong`.
 */
export function selfTest(device: Device, seed = 1): SelfTestResult {
  const tiles = TILES.filter((tile) => supported(device, tile));
  const content = fill(seed);
  const emulator = Device.open('emu:?window=1M');
  try {
    const began = performance.now();
    const got = run(device, tiles, content);
    const ms = performance.now() - began;
    const want = run(emulator, tiles, content);
    const wrong = tiles.filter((tile) => {
      const at = TILES.indexOf(tile) * TILE_BYTES;
      return !Buffer.from(got.buffer, at, TILE_BYTES).equals(Buffer.from(want.buffer, at, TILE_BYTES));
    });
    return { tiles: tiles.length, wrong: wrong.map(tileName), ms };
  } finally {
    emulator.close();
  }
}

function tileName({ a, b, o }: Tile): string {
  const [from, with_, to] = [a, b, o].map(([bits, encoding]) => formatName({ bits, encoding }));
  return `${from} x ${with_} -> ${to}`;
}
