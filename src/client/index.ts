/** What programs import: the client, and the wire contract for those who speak MQTT themselves. */
export { DEFAULT_BROKER_URL } from './broker-url.js';
export { BetaClient } from './client.js';
export type { Tls } from './connection.js';
export { CLIENT_ERROR_CODES, ConnectError, RequestError, type RequestErrorCode } from './errors.js';
export type { NodeStatus } from './fleet.js';
export type { TextPair, TokenInput } from './inputs.js';
export type { ClientOptions, RequestOptions, StreamOptions } from './options.js';
export {
  type Answer,
  type BatchAnswer,
  type Command,
  type CommandAnswer,
  ERROR_CODES,
  type ErrorCode,
  type Failure,
  type HiddenStatesResult,
  type LabelResult,
  NAME_PATTERN,
  type NodeInfo,
  type NodeState,
  PAYLOADS,
  type Priority,
  type RequestPayload,
  RequestSchema,
  type Result,
  type SpanResult,
  type Telemetry,
  type TensorAnswer,
  type TensorRequest,
  type TokenLabelsResult,
  topics,
  type Verb,
  WIRE_VERSION,
} from './wire.js';
