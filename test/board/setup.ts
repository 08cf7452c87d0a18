/** A board made of files for a whole run of tests, as the device under test. */
import { FakeBoard } from '../unit/device/board/fake-board.js';

export default async function setup(): Promise<() => Promise<void>> {
  const board = new FakeBoard(256 * 2 ** 20);
  await board.start();
  process.env.BETA_TEST_DEVICE = 'uio:beta-qmm0';
  return () => board.destroy();
}
