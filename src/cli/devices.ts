/** `beta devices`: what there is to run on. */
import type { Command } from 'commander';
import { Device } from '../device/device.js';
import { listCandidates } from '../device/discovery.js';
import { printJson, printTable } from './output.js';

/** Asks a device who it is; what stops it is its note. */
function probe(uri: string) {
  const device = Device.open(uri);
  try {
    return device.capabilities;
  } finally {
    device.close();
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
      const devices = listCandidates().map((candidate) => ({
        ...candidate,
        ...(candidate.usable && { capabilities: probe(candidate.uri) }),
      }));
      if (options.json) return printJson({ devices });
      printTable(
        ['device', 'usable', 'contract', 'array', 'limits', 'note'],
        devices.map(({ uri, usable, note, capabilities: caps }) => [
          uri,
          usable ? 'yes' : 'no',
          caps ? `v${caps.version.major}.${caps.version.minor} build ${caps.build}` : '-',
          caps ? `${caps.geometry.dm}x${caps.geometry.dn}x${caps.geometry.dk}` : '-',
          caps ? `K ${caps.maxK}, KP ${caps.maxKp}, ring 2^${caps.ringLog2Max}` : '-',
          note,
        ]),
      );
    });
}
