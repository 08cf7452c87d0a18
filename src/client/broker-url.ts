/** Broker addresses: what is accepted, and what may be shown. */
import { ConnectError } from './errors.js';

/** Where `beta serve` puts its embedded broker, and so where a client looks first. */
export const DEFAULT_BROKER_URL = 'mqtt://127.0.0.1:1883';

/** Why `text` is no broker address, or undefined if it is one. */
export function brokerUrlProblem(text: string): string | undefined {
  const example = 'expected something like mqtt://192.168.1.10:1883 or mqtts://broker.example:8883';
  if (!URL.canParse(text)) return `"${redact(text)}" is no URL; ${example}`;
  const { protocol, hostname, pathname } = new URL(text);
  if (protocol !== 'mqtt:' && protocol !== 'mqtts:') return `"${protocol}" is not supported; ${example}`;
  if (hostname === '') return `the host is missing; ${example}`;
  if (pathname !== '' && pathname !== '/') return `a broker has no path; ${example}`;
  return undefined;
}

/** Throws ConnectError if `text` is no broker address. */
export function checkBrokerUrl(text: string): void {
  const problem = brokerUrlProblem(text);
  if (problem !== undefined) throw new ConnectError(`broker address: ${problem}`);
}

/** The address without user name and password, for logs and people. */
export function redact(url: string): string {
  return url.replace(/\/\/.*@/s, '//');
}
