/** A device as the network is told of it. */
import type { Capabilities } from '../device/capabilities.js';

/** What a device says about itself. */
export interface DeviceInfo {
  readonly uri: string;
  readonly kind: 'emulator' | 'engine';
  /** Contract version, such as "1.0". */
  readonly version: string;
  readonly build: number;
}

export function deviceInfo(uri: string, { version, build }: Capabilities): DeviceInfo {
  return {
    uri,
    kind: build === 0 ? 'emulator' : 'engine',
    version: `${version.major}.${version.minor}`,
    build,
  };
}
