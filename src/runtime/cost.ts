/** Which cost model a device has: its registers tell (docs/contract.md, BUILD and GEOMETRY). */
import { boardModel, type CostModel, EMULATOR } from '../compiler/cost.js';
import type { Capabilities } from '../device/capabilities.js';
import { BUILD_EMULATOR } from '../device/contract.generated.js';

export function costModelOf({ build, geometry }: Pick<Capabilities, 'build' | 'geometry'>): CostModel {
  const { dm, dn, dk, lanes } = geometry;
  // An array without a size tells nothing.
  if (build === BUILD_EMULATOR || dm * dn * dk === 0) return EMULATOR;
  return boardModel({ dm, dn, dk, lanes });
}
