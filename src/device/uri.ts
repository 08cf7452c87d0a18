/** Device URIs: `emu:`, `uio:NAME`, `auto`, with options in the query (`emu:?window=64M`). */
import { WINDOW_ALIGN } from './contract.generated.js';
import { DeviceError } from './errors.js';

/** A device URI taken apart: what the native library opens, and what the host side keeps for itself. */
export interface DeviceUri {
  readonly scheme: string;
  /** The URI without the host's own options. */
  readonly native: string;
  /** Bytes of the DMA window, a multiple of 64 KiB. */
  readonly windowBytes: number;
  /** The window's size was asked for; otherwise a board gives all of its pool. */
  readonly windowAsked: boolean;
}

/** Default window. The emulator commits its memory page by page, so a large one costs only what is used. */
export const DEFAULT_WINDOW_BYTES = 256 * 2 ** 20;
/** The largest window there can be: offsets are u32. */
const MAX_WINDOW_BYTES = 2 ** 32 - WINDOW_ALIGN;

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

function parseSize(text: string, uri: string): number {
  const match = /^(\d{1,10})([KMG]?)(?:i?B)?$/i.exec(text);
  const bytes = match ? Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? Number.NaN) : Number.NaN;
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes >= 2 ** 32 || bytes % WINDOW_ALIGN !== 0) {
    throw new DeviceError(
      'bad-uri',
      `${uri}: window=${text} must be a multiple of 64 KiB below 4 GiB, such as window=64M`,
    );
  }
  return bytes;
}

/** Parses a device URI. Throws 'bad-uri'. */
export function parseDeviceUri(uri: string): DeviceUri {
  const match = /^([a-z][a-z0-9]*):([^?]*)(?:\?(.*))?$/.exec(uri);
  if (!match) {
    throw new DeviceError(
      'bad-uri',
      `"${uri}" is no device URI; use "auto", "uio:beta-qmm0", "emu:" or "emu:?window=64M"`,
    );
  }
  const [, scheme = '', path = '', query = ''] = match;
  let asked: number | undefined;
  const rest: string[] = [];
  for (const option of query.split('&').filter((part) => part !== '')) {
    if (option.startsWith('window=')) asked = parseSize(option.slice('window='.length), uri);
    else rest.push(option);
  }
  return {
    scheme,
    native: `${scheme}:${path}${rest.length > 0 ? `?${rest.join('&')}` : ''}`,
    windowBytes: asked ?? (scheme === 'uio' ? MAX_WINDOW_BYTES : DEFAULT_WINDOW_BYTES),
    windowAsked: asked !== undefined,
  };
}
