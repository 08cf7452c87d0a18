/** Tells the service manager (systemd) how this process is: sd_notify. */
import { NativeError } from './device.js';
import { library } from './library.js';

/**
 * Sends a state such as "READY=1"; several are lines. Returns false where no service manager wants to know. Throws NativeError when it
 * cannot be reached, NativeLibraryError.
 */
export function notify(state: string): boolean {
  const native = library();
  const code = native.notify(state);
  if (code < 0) throw new NativeError('notify', -code, native.error());
  return code === 0;
}
