/** What programs import: the client, and the wire contract for those who speak MQTT themselves. */
export { DEFAULT_BROKER_URL } from './broker-url.js';
export {
  BetaClient,
  type ClientOptions,
  type RequestOptions,
  type TextPair,
  type TokenInput,
} from './client.js';
export { CLIENT_ERROR_CODES, ConnectError, RequestError, type RequestErrorCode } from './errors.js';
export type { NodeStatus } from './fleet.js';
export {
  type Answer,
  type BatchAnswer,
  ERROR_CODES,
  type ErrorCode,
  type Failure,
  type HiddenStatesResult,
  type LabelResult,
  NAME_PATTERN,
  type NodeInfo,
  type NodeState,
  type RequestPayload,
  RequestSchema,
  type Result,
  type SpanResult,
  type TokenLabelsResult,
  topics,
  WIRE_VERSION,
} from './wire.js';
