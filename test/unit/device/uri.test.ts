import { describe, expect, it } from 'vitest';
import { DEFAULT_WINDOW_BYTES, parseDeviceUri } from '../../../src/device/uri.js';

describe('a device URI', () => {
  it('keeps the window for the host and passes the rest on', () => {
    expect(parseDeviceUri('emu:')).toEqual({
      scheme: 'emu',
      native: 'emu:',
      windowBytes: DEFAULT_WINDOW_BYTES,
      windowAsked: false,
    });
    expect(parseDeviceUri('emu:?window=64M')).toEqual({
      scheme: 'emu',
      native: 'emu:',
      windowBytes: 2 ** 26,
      windowAsked: true,
    });
    expect(parseDeviceUri('emu:?max_k=128&window=1G&ring_log2=2')).toEqual({
      scheme: 'emu',
      native: 'emu:?max_k=128&ring_log2=2',
      windowBytes: 2 ** 30,
      windowAsked: true,
    });
    expect(parseDeviceUri('uio:beta-qmm0')).toMatchObject({ scheme: 'uio', native: 'uio:beta-qmm0' });
    expect(parseDeviceUri('uio:beta-qmm0').windowBytes).toBe(2 ** 32 - 65_536); // All of the board's pool.
  });

  it.each([
    ['65536', 65536],
    ['64K', 65536],
    ['64k', 65536],
    ['64KiB', 65536],
    ['1MB', 2 ** 20],
    ['3G', 3 * 2 ** 30],
    ['4194240K', 2 ** 32 - 65536],
  ])('takes window=%s', (text, bytes) => {
    expect(parseDeviceUri(`emu:?window=${text}`).windowBytes).toBe(bytes);
  });

  it.each(['', '0', '-64K', '63K', '65537', '4G', '4T', '1e6', '0x10000', '64 M', '99999999999999'])(
    'refuses window=%s and says what it can be',
    (text) => {
      expect(() => parseDeviceUri(`emu:?window=${text}`)).toThrow(
        expect.objectContaining({
          code: 'bad-uri',
          message: expect.stringMatching(/64 KiB below 4 GiB.*window=64M/),
        }),
      );
    },
  );

  it.each(['', 'emu', 'EMU:', '7:', ':', 'auto', '/dev/uio0'])('refuses "%s"', (uri) => {
    expect(() => parseDeviceUri(uri)).toThrow(expect.objectContaining({ code: 'bad-uri' }));
  });
});
