// The wire contract as an AsyncAPI 3.0 document.
import { stringify } from 'yaml';
import { definitions } from './schema.mjs';

const parameterOf = {
  model: { description: 'Name of a model: lower-case letters, digits and "-", at most 63.' },
  node: { description: 'Id of a node: lower-case letters, digits and "-", at most 63.' },
  client: { description: 'Id of a client: letters, digits, "-" and "_", at most 64.' },
};

export function asyncApi({ CHANNELS, PAYLOADS, CONTENT_TYPES, WIRE_VERSION }) {
  const channels = {};
  const operations = {};
  for (const [name, channel] of Object.entries(CHANNELS)) {
    const names = [...channel.topic.matchAll(/<(\w+)>/g)].map(([, parameter]) => parameter);
    channels[name] = {
      address: channel.topic.replaceAll(/<(\w+)>/g, '{$1}'),
      description: sentence(channel.what),
      ...(names.length > 0 && {
        parameters: Object.fromEntries(names.map((each) => [each, parameterOf[each]])),
      }),
      messages: Object.fromEntries(
        channel.payloads.map((each) => [each, { $ref: `#/components/messages/${each}` }]),
      ),
    };
    // From the node's side: it receives what clients send.
    operations[name] = {
      action: channel.from === 'client' ? 'receive' : 'send',
      channel: { $ref: `#/channels/${name}` },
      messages: channel.payloads.map((each) => ({ $ref: `#/channels/${name}/messages/${each}` })),
      bindings: { mqtt: { qos: channel.qos, retain: channel.retained, bindingVersion: '0.2.0' } },
      ...(channel.answers && {
        reply: {
          address: {
            location: '$message.header#/responseTopic',
            description: 'MQTT 5 response topic; for 3.1.1 "replyTo" in the payload.',
          },
          channel: { $ref: '#/channels/reply' },
          messages: channel.answers.map((each) => ({ $ref: `#/channels/reply/messages/${each}` })),
        },
      }),
    };
  }
  const document = {
    asyncapi: '3.0.0',
    info: {
      title: 'BETA inference over MQTT',
      version: `${WIRE_VERSION}.0.0`,
      description: 'Written from src/client/wire/contract.ts by "npm run wire"; docs/mqtt.md explains it.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: CONTENT_TYPES.json,
    servers: {
      embedded: {
        host: '127.0.0.1:1883',
        protocol: 'mqtt',
        description: 'The embedded broker of "beta serve".',
      },
    },
    channels,
    operations,
    components: {
      messages: Object.fromEntries(
        Object.keys(PAYLOADS).map((name) => [
          name,
          { name, payload: { $ref: `#/components/schemas/${name}` } },
        ]),
      ),
      schemas: definitions(PAYLOADS),
    },
  };
  return `# Written by "npm run wire"; do not edit.\n${stringify(document, { lineWidth: 140, aliasDuplicateObjects: false })}`;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
