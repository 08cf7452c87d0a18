/** "8x8x128@200MHz": the array and clock of an engine, as people write them. */
import { boardModel, type CostModel } from './cost.js';

const PATTERN = /^(\d{1,3})x(\d{1,3})x(\d{1,5})(?:x(\d{1,3}))?(?:@(\d+(?:\.\d+)?)MHz)?$/i;

/**
 * The cost model of a board with such an engine: DmxDnxDk, optionally x lanes of the epilogue (Dm*Dn) and @ its clock (200 MHz). null
 * where the text says none.
 */
export function parseArrayGeometry(text: string): CostModel | null {
  const match = PATTERN.exec(text);
  if (match === null) return null;
  const [dm, dn, dk, lanes, megahertz] = match
    .slice(1)
    .map((part) => (part === undefined ? undefined : Number(part)));
  if (!dm || !dn || !dk || dk % 64 !== 0 || lanes === 0 || megahertz === 0) return null;
  return boardModel({
    dm,
    dn,
    dk,
    ...(lanes !== undefined && { lanes }),
    ...(megahertz !== undefined && { hz: megahertz * 1e6 }),
  });
}
