/** `beta serve`: the daemon. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Overrides } from '../service/config-file.js';
import type { Daemon } from '../service/daemon.js';
import type { StartHost } from '../service/engine.js';
import type { ServiceErrorKind } from '../service/errors.js';
import type { Log } from '../service/log.js';
import { EXIT, type ExitCode } from './exit.js';

interface ServeFlags {
  readonly config?: string;
  readonly broker?: string;
  readonly model?: string[];
  readonly node?: string;
  readonly device?: string;
  readonly port?: number;
  readonly httpPort?: number;
  readonly json?: boolean;
}

const HELP = `
Without --model and without a configuration, the intent model that comes with the package is served. Without --broker,
an embedded broker (MQTT 3.1.1) is started on 127.0.0.1.

Examples:
  beta serve
  beta serve --model my.beta --model other.beta --port 1884
  beta serve --broker mqtt://192.168.1.10:1883 --node kitchen --device auto
  beta serve --config /etc/beta/beta.yaml

SIGTERM or Ctrl-C stops it after what it accepted is answered; a second one ends it at once.
Exit codes: 0 stopped, 1 failed (device, model), 2 wrong usage or configuration, 3 no broker, 5 the engine was lost.`;

export function register(program: Command): void {
  program
    .command('serve')
    .description('answer inference requests over MQTT')
    .option('--config <file>', 'configuration file (YAML)')
    .option('--broker <url>', 'use this broker: mqtt://host:1883 or mqtts://host:8883')
    .option('--model <file>', 'artifact to serve, or a folder of them; may be repeated', append)
    .option('--node <id>', 'id of this node on the network (default: the host name)')
    .option('--device <uri>', 'device: auto, emu: or uio:NAME')
    .option('--port <n>', 'port of the embedded broker (0: a free one)', parsePort)
    .option(
      '--http-port <n>',
      'port for /metrics, /healthz and /readyz on 127.0.0.1 (0: a free one)',
      parsePort,
    )
    .option('--json', 'print what is served as one JSON line')
    .addHelpText('after', HELP)
    // The process must end here even if some part of it did not let go.
    .action(async (flags: ServeFlags) => process.exit(await serve(flags)));
}

/** Runs the daemon until it is stopped. `startHost` is for tests. */
export async function serve(flags: ServeFlags, startHost?: StartHost): Promise<ExitCode> {
  const { json, config, model, ...rest } = flags;
  const overrides: Overrides = { ...rest, models: model };
  // Loaded here, not above: no other command should wait for them.
  const { loadSettings } = await import('../service/config-file.js');
  const { createLog } = await import('../service/log.js');
  const { Daemon } = await import('../service/daemon.js');
  const { ServiceError } = await import('../service/errors.js');
  const { stopOnSignals } = await import('../service/signals.js');
  try {
    const settings = loadSettings(config, overrides);
    const log = createLog(settings.logLevel);
    const daemon = await Daemon.start({ settings, log, startHost: startHost ?? (await realHost()) });
    const release = stopOnSignals(daemon, log);
    await supervise(daemon, log);
    process.stdout.write(json ? `${JSON.stringify(readyJson(daemon))}\n` : readyText(daemon));
    const reason = await daemon.finished;
    release();
    return reason === 'engine-lost' ? EXIT.ENGINE_LOST : EXIT.OK;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    for (const line of error.message.split('\n')) process.stderr.write(`beta serve: ${line}\n`);
    return EXIT_OF[error.kind];
  }
}

/** Tells the service manager, where there is one. */
async function supervise(daemon: Daemon, log: Log): Promise<void> {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const { notify } = await import('../native/notify.js');
  const { Supervisor } = await import('../service/supervisor.js');
  const supervisor = new Supervisor({ notify, selfTest: () => daemon.selfTest(), log });
  daemon.onStopping = () => supervisor.stopping();
  supervisor.ready(`node ${daemon.info.node} on ${daemon.brokerUrl}`);
}

const EXIT_OF: Record<ServiceErrorKind, ExitCode> = {
  config: EXIT.USAGE,
  broker: EXIT.CONNECT,
  engine: EXIT.FAILED,
};

async function realHost(): Promise<StartHost> {
  const { EngineHost } = await import('../runtime/host.js');
  return (options) => EngineHost.start(options);
}

type Served = Pick<Daemon, 'info' | 'brokerUrl' | 'embedded' | 'protocolVersion' | 'httpUrl'>;

const protocolName = ({ protocolVersion }: Served) => (protocolVersion === 5 ? 'MQTT 5' : 'MQTT 3.1.1');

/** What a person sees when the node is online. */
export function readyText(daemon: Served): string {
  const { node, version, device, models } = daemon.info;
  const lines = [
    `beta ${version}: node ${node} is online`,
    ...models.map(
      (model) =>
        `  model   ${model.id}: ${model.labels > 0 ? `${model.labels} labels` : model.task}, up to ${model.max_tokens} tokens`,
    ),
    `  device  ${device.uri} (${device.kind} ${device.version})`,
    `  broker  ${daemon.brokerUrl} (${daemon.embedded ? 'embedded, ' : ''}${protocolName(daemon)})`,
    ...(daemon.httpUrl === undefined ? [] : [`  http    ${daemon.httpUrl}/metrics, /healthz, /readyz`]),
    'Ask it from another terminal:',
    `  ${askCommand(daemon)}`,
    'Stop it with Ctrl-C.',
  ];
  return `${lines.join('\n')}\n`;
}

/** The same for programs. */
export function readyJson(daemon: Served): object {
  const { info, brokerUrl, embedded } = daemon;
  return {
    ready: true,
    ...info,
    broker: brokerUrl,
    embedded,
    protocol: protocolName(daemon),
    http: daemon.httpUrl ?? null,
    ask: askCommand(daemon),
  };
}

/** A command that can be pasted as it is. */
function askCommand({ info, brokerUrl }: Served): string {
  const name = info.models[0]?.name ?? 'NAME';
  const text = name === 'intents' ? 'transfer ten dollars to my savings account' : 'some text';
  const broker = brokerUrl === DEFAULT_BROKER ? '' : ` --broker ${brokerUrl}`;
  return `npx beta request --model ${name}${broker} "${text}"`;
}

/** What `beta request` connects to by itself (DEFAULT_BROKER_URL of the client, which is loaded late). */
const DEFAULT_BROKER = 'mqtt://127.0.0.1:1883';

function append(value: string, list: string[] = []): string[] {
  return [...list, value];
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new InvalidArgumentError('expected a port number, 0 to 65535');
  return port;
}
