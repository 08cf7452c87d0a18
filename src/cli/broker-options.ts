/** How a command finds its broker: the same options everywhere, also from the environment. */
import { type Command, Option } from 'commander';
import type { BetaClient } from '../client/client.js';
import type { ClientOptions } from '../client/options.js';
import { EXIT, type ExitCode } from './exit.js';
import { note, printJson } from './output.js';

export interface BrokerFlags {
  readonly broker?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Adds the options to a command. A password is never an argument: every process of the machine could read it. */
export function brokerOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--broker <url>', 'address of the broker (default: mqtt://127.0.0.1:1883)').env(
        'BETA_BROKER',
      ),
    )
    .addOption(new Option('--username <name>', 'user name for the broker').env('BETA_USERNAME'))
    .option(
      '--password-file <file>',
      'file whose first line is the password (or the environment: BETA_PASSWORD)',
    )
    .option('--ca <file>', 'PEM file of the authorities that may sign the certificate of the broker')
    .option('--cert <file>', 'PEM file of the certificate of this client')
    .option('--key <file>', 'PEM file of its key');
}

/** Connects. Throws ConnectError, ServiceError 'config' for a file that cannot be read. */
export async function connectClient(flags: BrokerFlags, more: ClientOptions = {}): Promise<BetaClient> {
  const { BetaClient, DEFAULT_BROKER_URL } = await import('../client/index.js');
  const { readPassword, readPem } = await import('../service/secrets.js');
  const pem = (name: 'ca' | 'cert' | 'key') => {
    const file = flags[name];
    return file === undefined ? undefined : readPem(`--${name}`, file);
  };
  return BetaClient.connect(flags.broker ?? DEFAULT_BROKER_URL, {
    username: flags.username,
    password:
      flags.passwordFile === undefined
        ? process.env.BETA_PASSWORD
        : readPassword('--password-file', flags.passwordFile),
    tls: { ca: pem('ca'), cert: pem('cert'), key: pem('key') },
    ...more,
  });
}

/** Runs `work` with a client, and turns what can go wrong into a message and an exit code. */
export async function withClient(
  name: string,
  flags: BrokerFlags & { readonly json?: boolean },
  work: (client: BetaClient) => Promise<ExitCode>,
  options: ClientOptions = {},
): Promise<ExitCode> {
  const { ConnectError, RequestError } = await import('../client/index.js');
  const { ServiceError } = await import('../service/errors.js');
  const failed = (code: string, message: string, exit: ExitCode) => {
    note(`${name}: ${message}`);
    if (flags.json) printJson({ error: { code, message } });
    return exit;
  };
  let client: BetaClient;
  try {
    client = await connectClient(flags, options);
  } catch (error) {
    if (error instanceof ConnectError) return failed('no_connection', error.message, EXIT.CONNECT);
    if (error instanceof ServiceError) return failed('config', error.message, EXIT.USAGE);
    throw error;
  }
  try {
    return await work(client);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return failed(error.code, error.message, error.code === 'timeout' ? EXIT.TIMEOUT : EXIT.FAILED);
  } finally {
    await client.close();
  }
}
