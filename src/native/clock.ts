/** The clock that a core really runs at, for figures per cycle. */
import { library } from './library.js';

/**
 * Cycles in a second of the core that this thread runs on, now, from dependent additions for about `microseconds`
 * (native/include/beta.h). Throws NativeLibraryError.
 */
export function coreHz(microseconds: number): number {
  return library().coreHz(microseconds);
}
