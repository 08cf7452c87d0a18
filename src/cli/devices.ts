/** `beta devices`: what there is to run on. */
import type { Command } from 'commander';
import { Device } from '../device/device.js';
import { type DeviceCandidate, listCandidates } from '../device/discovery.js';
import { DeviceError } from '../device/errors.js';
import { printJson, printTable } from './output.js';

/** Asks a device who it is; what stops it becomes its note. */
function probe(candidate: DeviceCandidate) {
  if (!candidate.usable) return candidate;
  try {
    const device = Device.open(candidate.uri);
    try {
      return { ...candidate, capabilities: device.capabilities };
    } finally {
      device.close();
    }
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { ...candidate, usable: false, note: error.message };
  }
}

export function register(program: Command): void {
  program
    .command('devices')
    .summary('list the devices of this machine')
    .description(
      'Lists boards and the emulator, with what each reports about itself, or why it cannot be used.',
    )
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  $ beta devices\n  $ beta devices --json')
    .action((options: { json?: true }) => {
      const devices = listCandidates().map(probe);
      if (options.json) return printJson({ devices });
      printTable(
        ['device', 'usable', 'contract', 'array', 'limits', 'note'],
        devices.map((device) => {
          const caps = 'capabilities' in device ? device.capabilities : undefined;
          return [
            device.uri,
            device.usable ? 'yes' : 'no',
            caps ? `v${caps.version.major}.${caps.version.minor} build ${caps.build}` : '-',
            caps ? `${caps.geometry.dm}x${caps.geometry.dn}x${caps.geometry.dk}` : '-',
            caps ? `K ${caps.maxK}, KP ${caps.maxKp}, ring 2^${caps.ringLog2Max}` : '-',
            device.note,
          ];
        }),
      );
    });
}
