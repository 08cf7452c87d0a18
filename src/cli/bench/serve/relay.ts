/**
 * The least that any service in Node behind a broker costs: a process that sends what it gets to the response topic, at QoS 1. Arguments:
 * broker and topic. It prints a line when it listens.
 */
import { connectBroker } from '../../../client/connection.js';

const [url, topic] = process.argv.slice(2) as [string, string];
const { mqtt } = await connectBroker({
  url,
  clientId: `beta-relay-${process.pid}`,
  protocolVersion: 5,
  receiveMaximum: 65_535,
});
mqtt.on('message', (_topic, payload, { properties }) => {
  if (properties?.responseTopic === undefined) return;
  const { correlationData } = properties;
  mqtt.publish(properties.responseTopic, payload, {
    qos: 1,
    ...(correlationData && { properties: { correlationData } }),
  });
});
await mqtt.subscribeAsync(topic, { qos: 1 });
process.stdout.write('ready\n');
