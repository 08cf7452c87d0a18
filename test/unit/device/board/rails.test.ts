import { afterEach, beforeEach, expect, it } from 'vitest';
import { findProfile } from '../../../../src/device/board/profile.js';
import { EnergyMeter, findRails, readRails, readRailsLater } from '../../../../src/device/board/rails.js';
import { FakeBoard } from './fake-board.js';

let board: FakeBoard;
beforeEach(() => {
  board = new FakeBoard();
});
afterEach(() => board.destroy());

it('rails are found by name, whatever their number, and in the order of the profile', async () => {
  board.putRail(0, 'coretemp', 1);
  board.putRail(11, 'ina226_u79', 1_500_000);
  board.putRail(4, 'ina226_u93', 300_000);
  board.putRail(5, 'ina226_u99', 1); // Not on this board.
  board.putRail(6, 'ina226', 250_000); // The plain driver: the device tree tells them apart.
  board.put('/sys/class/hwmon/hwmon6/device/of_node/label', 'ina226-u76\0');
  board.putRail(7, 'ina226', 1); // Nobody says which.
  const rails = findRails(findProfile());
  expect(rails.map(({ chip, rail, domain }) => [chip, rail, domain])).toEqual([
    ['u79', 'VCCINT', 'PL'],
    ['u76', 'VCCPSINTFP', 'PS'],
    ['u93', 'VCCO_PSDDR_504', 'DDR'],
  ]);
  expect(readRails(rails)).toEqual([1.5, 0.25, 0.3]);
  expect(await readRailsLater(rails)).toEqual([1.5, 0.25, 0.3]);
});

it('without power1_input it is voltage times current, and a sensor that fails is no zero', async () => {
  board.putRail(0, 'ina226_u79', 0);
  board.remove('/sys/class/hwmon/hwmon0/power1_input');
  board.put('/sys/class/hwmon/hwmon0/in1_input', '850\n');
  board.put('/sys/class/hwmon/hwmon0/curr1_input', '2000\n');
  const rails = findRails(findProfile());
  expect(readRails(rails)).toEqual([1.7]);
  expect(await readRailsLater(rails)).toEqual([1.7]);
  board.put('/sys/class/hwmon/hwmon0/curr1_input', '-100\n');
  expect(readRails(rails)[0]).toBeCloseTo(-0.085); // Offsets of a monitor at no load are real.
  board.remove('/sys/class/hwmon/hwmon0/curr1_input');
  expect(readRails(rails)).toEqual([undefined]);
  expect(await readRailsLater(rails)).toEqual([undefined]);
});

it('a machine that is no board has none', () => {
  board.remove('/proc/device-tree');
  board.putRail(0, 'ina226_u79', 1);
  expect(findRails(findProfile())).toEqual([]);
});

it('energy is the integral between samples, by domain', () => {
  board.putRail(0, 'ina226_u79', 0);
  board.putRail(1, 'ina226_u93', 0);
  const meter = new EnergyMeter(findRails(findProfile()));
  expect(meter.watts()).toBe(0);
  meter.sample(1000, [1, 4]);
  expect(meter.watts()).toBe(0);
  meter.sample(2000, [3, undefined]); // The failed read keeps 4 W.
  meter.sample(4000, [3, 4]);
  expect(meter).toMatchObject({ seconds: 3, samples: 3 });
  expect(meter.joules(({ domain }) => domain === 'PL')).toBeCloseTo(2 + 6);
  expect(meter.joules(({ domain }) => domain === 'DDR')).toBeCloseTo(12);
  expect(meter.joules()).toBeCloseTo(20);
  expect(meter.watts()).toBeCloseTo(20 / 3);
});
