import { describe, expect, it } from 'vitest';
import { DeviceError, DeviceTimeoutError, FaultError } from '../../../src/device/errors.js';

describe('a fault error', () => {
  it('names the register of a CONFIG fault', () => {
    const error = new FaultError(0x3c01, 0, 0, undefined);
    expect(error).toMatchObject({
      code: 'device-fault',
      fault: 1,
      field: 0x3c,
      at: 0,
      sequence: 0,
      name: 'FaultError',
    });
    expect(error.message).toMatch(
      /^fault CONFIG in register RING at window offset 0x0: .*\(.*64-byte aligned/,
    );
  });

  it('names the field of any other, and keeps what it does not know', () => {
    expect(new FaultError(0x1809, 0x70000, 3, undefined).message).toMatch(
      /^fault BOUNDS in field a_stride at window offset 0x70000/,
    );
    const unknown = new FaultError(0xfffd, 0, 3, undefined);
    expect(unknown).toMatchObject({ fault: 0xfd, field: 0xff });
    expect(unknown.message).toMatch(/^fault code 253 in field 0xFF .*newer than the host/);
  });
});

it('a timeout tells the state of the engine', () => {
  const error = new DeviceTimeoutError('reset', 250, { head: 7, tail: 9, status: 3 });
  expect(error).toBeInstanceOf(DeviceError);
  expect(error).toMatchObject({ code: 'device-timeout', name: 'DeviceTimeoutError' });
  expect(error.message).toMatch(/^reset: no progress for 250 ms \(HEAD 7, TAIL 9, STATUS 0x3\)/);
});
