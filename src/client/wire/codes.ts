/** Error codes of an answer, with their meaning. Stable: programs may depend on them. */
export const ERROR_CODES = {
  bad_json: 'The payload is not JSON in UTF-8, or has more lists, keys or levels than any request.',
  bad_cbor:
    'The content type says CBOR, and the payload is none, or has more lists or keys than any request.',
  bad_content_type: 'The content type is neither application/json nor application/cbor.',
  bad_request:
    'The payload is well-formed but no request: unknown key, wrong type, missing or empty input, or something that this model does not do.',
  payload_too_large: 'The request, or its answer, is larger than the node or the broker takes.',
  unknown_model: 'The model named in the topic is not served there.',
  empty_text: 'A text has no words.',
  text_too_long:
    'A text has more tokens than the model takes and "truncate" was not set, or too many characters at all.',
  bad_ids: 'input_ids or token_type_ids are empty, too many, not integers, or outside their table.',
  too_many_inputs: 'More inputs in one request than the node takes.',
  busy: 'The queue of the node is full. Try again later, or another node.',
  expired: 'The message expired before the engine was free for it. Nothing was computed.',
  cancelled: 'The requester took the request back.',
  refused: 'The node does not take this command, or not now.',
  shutting_down: 'The node is stopping. Try again, or another node.',
  device_error:
    'The engine failed. The request was not answered because of the node, not because of its content.',
  internal: 'A fault in the node itself. Its log has the details.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;
