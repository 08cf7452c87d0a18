/** `beta fleet`, `beta drain`, `beta resume`, `beta load-model`, `beta unload-model`: the nodes of a broker, and what they are told to do. */
import type { Command } from 'commander';
import type { BetaClient } from '../client/client.js';
import type { Telemetry, Verb } from '../client/wire.js';
import { type BrokerFlags, brokerOptions, withClient } from './broker-options.js';
import { EXIT, type ExitCode } from './exit.js';
import { printable, printJson, printLine, printTable } from './output.js';

type Flags = BrokerFlags & { readonly json?: boolean };

/** Nodes tell of themselves every five seconds, unless they are configured otherwise. */
const TELEMETRY_MS = 6000;

export function register(program: Command): void {
  brokerOptions(program.command('fleet'))
    .description('list the nodes of a broker with their models, load and health')
    .option('--wait <s>', 'seconds to wait for load and health', Number, TELEMETRY_MS / 1000)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta fleet --broker mqtt://192.168.1.10:1883\n  $ beta fleet --wait 0 --json\n\nExit codes: 0 at least one node is online, 1 none is, 3 no broker.',
    )
    .action(async (flags: Flags & { wait: number }) => {
      process.exitCode = await withClient('fleet', flags, (client) => list(client, flags));
    });
  command(program, 'drain', 'let a node finish what it has and take nothing new from model topics');
  command(program, 'resume', 'let a drained node take requests again');
  command(
    program,
    'load-model',
    'serve one more model, from the folder that the node is configured to load from',
    'file',
  );
  command(program, 'unload-model', 'serve a model no longer', 'model');
}

function command(program: Command, verb: Verb, description: string, argument?: 'file' | 'model'): void {
  const own = brokerOptions(program.command(verb))
    .description(description)
    .argument('<node>', 'id of the node');
  if (argument) own.argument(`<${argument}>`, argument === 'file' ? 'name of the file' : 'name of the model');
  own
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `\nExamples:\n  $ beta ${verb} kitchen${argument === 'file' ? ' squad.beta' : argument ? ' squad' : ''}\n\nExit codes: 0 done, 1 refused, 3 no broker, 4 no answer.`,
    )
    .action(async (node: string, ...rest: [string, ...unknown[]] | unknown[]) => {
      const value = argument ? (rest[0] as string) : undefined;
      const flags = rest[argument ? 1 : 0] as Flags;
      process.exitCode = await withClient(verb, flags, async (client) => {
        const answer = await client.command(node, verb, argument ? { [argument]: value } : {});
        if (flags.json) printJson(answer);
        else printLine(`${answer.node} is ${answer.state} and serves ${answer.models.join(', ')}`);
        return EXIT.OK;
      });
    });
}

async function list(client: BetaClient, { wait, json }: Flags & { wait: number }): Promise<ExitCode> {
  const telemetry = new Map<string, Telemetry>();
  const heard = wait > 0 ? await client.onTelemetry((each) => telemetry.set(each.node, each)) : undefined;
  const nodes = await client.nodes();
  const alive = nodes.filter(({ state }) => state !== 'offline');
  const deadline = performance.now() + wait * 1000;
  while (performance.now() < deadline && alive.some(({ node }) => !telemetry.has(node)))
    await new Promise((resolve) => setTimeout(resolve, 50));
  heard?.();
  if (json) {
    printJson({ nodes: nodes.map((each) => ({ ...each, telemetry: telemetry.get(each.node) ?? null })) });
    return alive.length > 0 ? EXIT.OK : EXIT.FAILED;
  }
  if (nodes.length === 0) printLine('no node was ever on this broker');
  else
    printTable(
      ['node', 'state', 'health', 'models', 'device', 'requests/s', 'queue', 'busy', 'p50 ms', 'p99 ms'],
      nodes.map(({ node, state, info }) => {
        const load = telemetry.get(node);
        const figure = (value: number | undefined) => (value === undefined ? '' : String(value));
        return [
          printable(node),
          state,
          load ? (load.ready ? 'ready' : 'not ready') : '',
          printable(info?.models.map(({ name }) => name).join(' ') ?? ''),
          printable(info?.device.uri ?? ''),
          figure(load?.requests_per_s),
          figure(load?.queue.waiting),
          load ? `${Math.round(load.engine_busy * 100)} %` : '',
          figure(load?.latency_ms.p50),
          figure(load?.latency_ms.p99),
        ];
      }),
    );
  return alive.length > 0 ? EXIT.OK : EXIT.FAILED;
}
