/** Reads the configuration file and lays the command line over it. */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import type { Tls } from '../client/connection.js';
import {
  type BrokerConfig,
  type Config,
  defaultNode,
  type EmbeddedConfig,
  type HttpConfig,
  type Limits,
  parseConfig,
} from './config.js';
import { messageOf, ServiceError } from './errors.js';
import type { LogLevel } from './log.js';
import { expandModels } from './models.js';
import { bundledModel } from './package-info.js';
import { readPassword, readPem } from './secrets.js';

const MAX_FILE_BYTES = 2 ** 20;

/** What the command line may override. */
export interface Overrides {
  readonly broker?: string | undefined;
  readonly models?: readonly string[] | undefined;
  readonly node?: string | undefined;
  readonly device?: string | undefined;
  /** Port of the embedded broker. */
  readonly port?: number | undefined;
  /** Port of /metrics, /healthz and /readyz. */
  readonly httpPort?: number | undefined;
}

export interface BrokerLogin {
  readonly url: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly clientId: string | undefined;
  readonly tls: Tls | undefined;
  readonly sessionSeconds: number;
}

/** Everything the daemon needs to know, with nothing left to default. */
export interface Settings {
  readonly node: string;
  readonly device: string;
  /** Exactly one of the two. */
  readonly broker: BrokerLogin | undefined;
  readonly embedded: EmbeddedConfig | undefined;
  readonly models: readonly string[];
  readonly modelFolder: string | undefined;
  readonly commands: boolean;
  readonly telemetrySeconds: number;
  readonly http: HttpConfig | undefined;
  readonly limits: Limits;
  readonly logLevel: LogLevel;
}

/** Settings from an optional file and the command line. Throws ServiceError 'config'. */
export function loadSettings(file: string | undefined, overrides: Overrides = {}): Settings {
  const config = file === undefined ? parseConfig({ version: 1 }) : readConfig(file);
  const base = file === undefined ? process.cwd() : dirname(resolve(file));
  checkOverrides(overrides);
  const { node, device, port, httpPort, models = [] } = overrides;
  // A port on the command line asks for the embedded broker, whatever the file says.
  const url = port === undefined ? (overrides.broker ?? config.broker?.url) : undefined;
  return {
    node: node ?? config.node ?? defaultNode(),
    device: device ?? config.device,
    broker: url === undefined ? undefined : { url, ...login(config.broker, base) },
    embedded:
      url === undefined
        ? { host: config.embedded?.host ?? '127.0.0.1', port: port ?? config.embedded?.port ?? 1883 }
        : undefined,
    models:
      models.length > 0
        ? expandModels(models, process.cwd())
        : expandModels(config.models ?? [bundledModel()], base),
    modelFolder: config.modelFolder === undefined ? undefined : resolve(base, config.modelFolder),
    commands: config.commands,
    telemetrySeconds: config.telemetrySeconds,
    http: httpPort === undefined ? config.http : { host: config.http?.host ?? '127.0.0.1', port: httpPort },
    limits: config.limits,
    logLevel: config.log.level,
  };
}

function readConfig(file: string): Config {
  try {
    if (statSync(file).size > MAX_FILE_BYTES) throw new Error('larger than 1 MiB, which no configuration is');
    const document = parseDocument(readFileSync(file, 'utf8'));
    const [problem] = document.errors;
    if (problem) throw new Error(problem.message.trimEnd());
    return parseConfig(document.toJS({ maxAliasCount: 100 }));
  } catch (error) {
    throw new ServiceError('config', `${file}: ${messageOf(error)}`, { cause: error });
  }
}

/** The command line goes through the same checks as the file. */
function checkOverrides({ node, device, broker, port }: Overrides): void {
  try {
    parseConfig({
      version: 1,
      node,
      device,
      broker: broker === undefined ? undefined : { url: broker },
      embedded: port === undefined ? undefined : { port },
    });
  } catch (error) {
    throw new ServiceError('config', `command line: ${messageOf(error)}`);
  }
}

function login(broker: BrokerConfig | undefined, base: string): Omit<BrokerLogin, 'url'> {
  const {
    username,
    password,
    passwordFile,
    passwordEnv,
    ca,
    cert,
    key,
    clientId,
    sessionSeconds = 0,
  } = broker ?? {};
  const pem = (name: string, file: string | undefined) =>
    file === undefined ? undefined : readPem(`broker.${name}`, resolve(base, file));
  return {
    username,
    password:
      passwordFile !== undefined
        ? readPassword('broker.passwordFile', resolve(base, passwordFile))
        : passwordEnv !== undefined
          ? environment(passwordEnv)
          : password,
    clientId,
    tls:
      ca === undefined && cert === undefined
        ? undefined
        : { ca: pem('ca', ca), cert: pem('cert', cert), key: pem('key', key) },
    sessionSeconds,
  };
}

function environment(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '')
    throw new ServiceError('config', `broker.passwordEnv: the environment has no ${name}`);
  return value;
}
