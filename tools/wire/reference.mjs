// docs/mqtt-reference.md: topics, payloads and codes as tables.
import { definitions } from './schema.mjs';

const TITLES = {
  Request: 'Request in words and ids',
  TensorRequest: 'Request in tensors',
  Answer: 'Answer to `text`',
  BatchAnswer: 'Answer to `texts` and `input_ids`',
  TensorAnswer: 'Answer in tensors',
  Failure: 'Error',
  Cancel: 'Taking a request back',
  Command: 'Command',
  CommandAnswer: 'Answer to a command',
  NodeState: 'State of a node',
  NodeInfo: 'Info of a node',
  Telemetry: 'Telemetry',
};

export function reference({ CHANNELS, PAYLOADS, ERROR_CODES, CONTENT_TYPES, WIRE_VERSION }) {
  const schemas = definitions(PAYLOADS);
  const lines = [
    '# MQTT reference',
    '',
    `Wire contract ${WIRE_VERSION}. Written from \`src/client/wire/contract.ts\` by \`npm run wire\`; [mqtt.md](mqtt.md) explains it. The same as [JSON Schema](wire.schema.json) and [AsyncAPI](asyncapi.yaml).`,
    '',
    `Content types: ${Object.values(CONTENT_TYPES)
      .map((type) => `\`${type}\``)
      .join(' (default), ')}.`,
    '',
    '## Topics',
    '',
    ...table(
      ['topic', 'from', 'payload', 'QoS', 'what'],
      Object.values(CHANNELS).map(({ topic, from, payloads, qos, retained, what }) => [
        code(topic),
        from,
        payloads.map(link).join(', '),
        retained ? `${qos}, retained` : String(qos),
        what,
      ]),
    ),
    '',
    '## Error codes',
    '',
    ...table(
      ['code', 'meaning'],
      Object.entries(ERROR_CODES).map(([name, meaning]) => [code(name), meaning]),
    ),
    '',
    '## Payloads',
    '',
    'A key with `?` may be left out. Requests and commands with other keys are refused; of what nodes send, keys that are not here must be ignored.',
  ];
  for (const [name, schema] of Object.entries(schemas))
    lines.push('', `### ${TITLES[name]}`, '', ...payload(schema));
  return `${lines.join('\n')}\n`;
}

const code = (text) => `\`${text}\``;
const anchor = (title) =>
  title
    .toLowerCase()
    .replaceAll(/[^a-z0-9_ -]/g, '')
    .replaceAll(' ', '-');
const link = (name) => `[${name}](#${anchor(TITLES[name])})`;

function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

function payload(schema) {
  const parts = schema.allOf ?? [schema];
  return table(
    ['key', 'type', 'meaning'],
    parts.flatMap((part) => (part.anyOf ? alternatives(part.anyOf) : fields(part))),
  );
}

/** What all alternatives have, once; then what each has of its own. */
function alternatives(list) {
  const rows = list.map((each) => fields(each));
  const has = (own, row) => own.some((other) => other.join() === row.join());
  const shared = rows[0].filter((row) => rows.every((own) => has(own, row)));
  return [
    ...shared,
    ...rows.flatMap((own, at) => [
      [`*${at > 0 ? 'or' : 'and, by the task of the model,'}*`, '', ''],
      ...own.filter((row) => !has(shared, row)),
    ]),
  ];
}

/** Rows of an object's keys; those of objects inside it follow with dotted names. */
function fields(schema, prefix = '') {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, each]) => {
    const inner = nested(each);
    const key = `${prefix}${name}${required.has(name) ? '' : '?'}`;
    const row = [code(key), name === 'results' ? 'list of objects' : typeName(each), each.description ?? ''];
    if (!inner) return [row];
    const inside = inner.anyOf
      ? inner.anyOf.flatMap((one) => fields(one, `${prefix}${name}[].`))
      : fields(inner.schema, `${prefix}${name}${inner.list ? '[]' : ''}.`);
    // What a list of results holds is told where it stands alone.
    return name === 'results' ? [row] : [row, ...inside];
  });
}

function nested(schema) {
  if (schema.type === 'object' && schema.properties) return { schema, list: false };
  if (schema.type === 'array' && schema.items?.type === 'object') return { schema: schema.items, list: true };
  const object = schema.anyOf?.find((each) => each.type === 'object');
  return object ? { schema: object, list: false } : undefined;
}

function typeName(schema) {
  if (schema.const !== undefined) return code(JSON.stringify(schema.const));
  if (schema.enum) return schema.enum.map((each) => code(each)).join(', ');
  if (schema.anyOf) return schema.anyOf.map(typeName).join(' or ');
  if (schema.type === 'array') {
    if (schema.prefixItems)
      return `list of ${schema.prefixItems.length} ${plural(typeName(schema.prefixItems[0]))}`;
    return `list of ${plural(typeName(schema.items ?? {}))}`;
  }
  return schema.type ?? 'list';
}

function plural(name) {
  if (name.startsWith('list')) return name.replace('list', 'lists');
  return name.startsWith('`') ? name : `${name}s`;
}
