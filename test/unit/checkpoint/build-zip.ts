// Test support: a zip writer that can lie. See build.ts.
import { crc32, deflateRawSync } from 'node:zlib';

/** One entry; the optional fields lie about it. */
export interface ZipInput {
  name: string;
  data: Uint8Array;
  deflate?: boolean;
  method?: number;
  crc?: number;
  /** Uncompressed size in the central directory. */
  size?: number;
  /** Compressed size in the central directory. */
  packed?: number;
  /** Offset of the local header in the central directory. */
  offset?: number;
  flags?: number;
}

export interface ZipOptions {
  /** Write sizes and offsets in zip64 extra fields too, as for entries above 4 GiB. */
  zip64Entries?: boolean;
  /** Plain end record only, without the zip64 one that torch always writes. */
  plainEnd?: boolean;
  /** Entry count in the end record. */
  entryCount?: number;
}

/** A zip as torch writes it: sizes in data descriptors, data aligned to 64 bytes by an extra field, zip64 end. */
export function zipBytes(entries: readonly ZipInput[], options: ZipOptions = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  const add = (part: Uint8Array): void => {
    parts.push(Buffer.from(part));
    at += part.length;
  };
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const packed = entry.deflate ? deflateRawSync(entry.data) : Buffer.from(entry.data);
    const crc = entry.crc ?? crc32(entry.data);
    const method = entry.method ?? (entry.deflate ? 8 : 0);
    const flags = entry.flags ?? 0x0808;
    const start = at;
    const padding = (64 - ((at + 30 + name.length + 4) % 64)) % 64;
    const extra = Buffer.alloc(4 + padding, 'Z');
    extra.write('FB', 'latin1');
    extra.writeUInt16LE(padding, 2);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(flags, 6);
    local.writeUInt16LE(method, 8);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(extra.length, 28);
    add(local);
    add(name);
    add(extra);
    add(packed);
    const descriptor = Buffer.alloc(16);
    descriptor.writeUInt32LE(0x08074b50, 0);
    descriptor.writeUInt32LE(crc, 4);
    descriptor.writeUInt32LE(packed.length, 8);
    descriptor.writeUInt32LE(entry.data.length, 12);
    add(descriptor);
    const lies = {
      size: entry.size ?? entry.data.length,
      packed: entry.packed ?? packed.length,
      offset: entry.offset ?? start,
    };
    directory.push(centralHeader(name, method, flags, crc, lies, options.zip64Entries ?? false));
  }
  const directoryStart = at;
  for (const header of directory) add(header);
  const directorySize = at - directoryStart;
  const count = options.entryCount ?? entries.length;
  if (!options.plainEnd) {
    const end64 = Buffer.alloc(56);
    end64.writeUInt32LE(0x06064b50, 0);
    end64.writeBigUInt64LE(44n, 4);
    end64.writeBigUInt64LE(BigInt(count), 24);
    end64.writeBigUInt64LE(BigInt(count), 32);
    end64.writeBigUInt64LE(BigInt(directorySize), 40);
    end64.writeBigUInt64LE(BigInt(directoryStart), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(at), 8);
    locator.writeUInt32LE(1, 16);
    add(end64);
    add(locator);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(count, 0xffff), 8);
  end.writeUInt16LE(Math.min(count, 0xffff), 10);
  end.writeUInt32LE(directorySize, 12);
  end.writeUInt32LE(directoryStart, 16);
  add(end);
  return Buffer.concat(parts);
}

function centralHeader(
  name: Buffer,
  method: number,
  flags: number,
  crc: number,
  { size, packed, offset }: { size: number; packed: number; offset: number },
  zip64: boolean,
): Buffer {
  const wide = zip64 || Math.max(size, packed, offset) > 0xfffffffe;
  const extra = Buffer.alloc(wide ? 28 : 0);
  if (wide) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    extra.writeBigUInt64LE(BigInt(size), 4);
    extra.writeBigUInt64LE(BigInt(packed), 12);
    extra.writeBigUInt64LE(BigInt(offset), 20);
  }
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(flags, 8);
  header.writeUInt16LE(method, 10);
  header.writeUInt32LE(crc, 16);
  header.writeUInt32LE(wide ? 0xffffffff : packed, 20);
  header.writeUInt32LE(wide ? 0xffffffff : size, 24);
  header.writeUInt16LE(name.length, 28);
  header.writeUInt16LE(extra.length, 30);
  header.writeUInt32LE(wide ? 0xffffffff : offset, 42);
  return Buffer.concat([header, name, extra]);
}
