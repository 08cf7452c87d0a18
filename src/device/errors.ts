/** What can go wrong with a device, as types a caller can tell apart. */
import { DESCRIPTOR, FAULT, FAULT_TEXT, REG } from './contract.generated.js';
import { type DecodedDescriptor, describeDescriptor } from './descriptor.js';

const hex = (value: number) => `0x${value.toString(16).toUpperCase()}`;

/** Base of every device error; `code` is stable. */
export class DeviceError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The device is not what this host needs: both sides, the field and the fix are in the message. */
export class CompatibilityError extends DeviceError {
  constructor(field: string, device: string, host: string, fix: string) {
    super('incompatible', `${field}: the device has ${device}, the host needs ${host}; ${fix}`);
  }
}

/** A wait ran out. The engine may still be working; only a reset makes the window safe to reuse. */
export class DeviceTimeoutError extends DeviceError {
  constructor(what: string, timeoutMs: number, state: { head: number; tail: number; status: number }) {
    super(
      'device-timeout',
      `${what}: no progress for ${timeoutMs} ms (HEAD ${state.head}, TAIL ${state.tail}, STATUS ${hex(state.status)}); ` +
        'reset the device, or raise the timeout if its tiles are this long',
    );
  }
}

/** The engine stopped. Sticky: every later call throws the same error until reset (contract section 6). */
export class FaultError extends DeviceError {
  /** Fault code (contract). */
  readonly fault: number;
  /** Byte offset of the offending descriptor field, or of the register for CONFIG. */
  readonly field: number;
  /** Window offset of the offending access. */
  readonly at: number;
  /** Sequence number of the failing descriptor. */
  readonly sequence: number;
  /** The failing descriptor, when the fault belongs to one. */
  readonly descriptor: DecodedDescriptor | undefined;

  constructor(faultWord: number, at: number, sequence: number, descriptor: DecodedDescriptor | undefined) {
    const fault = faultWord & 0xff;
    const field = (faultWord >>> 8) & 0xff;
    const text = FAULT_TEXT[fault] ?? {
      name: `code ${fault}`,
      doc: 'unknown to this host',
      hint: 'is the device newer than the host?',
    };
    const fieldName =
      fault === FAULT.CONFIG
        ? (Object.entries(REG).find(([, offset]) => offset === field)?.[0] ?? hex(field))
        : (Object.entries(DESCRIPTOR).find(([, { offset }]) => offset === field)?.[0] ?? hex(field));
    super(
      'device-fault',
      `fault ${text.name} in ${fault === FAULT.CONFIG ? 'register' : 'field'} ${fieldName} at window offset ${hex(at)}: ${text.doc}` +
        `${text.hint ? ` (${text.hint})` : ''}${descriptor ? `; descriptor ${sequence}: ${describeDescriptor(descriptor)}` : ''}`,
    );
    this.fault = fault;
    this.field = field;
    this.at = at;
    this.sequence = sequence;
    this.descriptor = descriptor;
  }
}
