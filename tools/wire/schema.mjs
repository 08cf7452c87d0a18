// JSON Schema of every payload of the wire contract.
import { z } from 'zod';

/** One document with a definition for each payload. */
export function jsonSchema({ PAYLOADS, WIRE_VERSION }) {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `beta-wire-${WIRE_VERSION}.schema.json`,
    title: `BETA wire contract ${WIRE_VERSION}`,
    $defs: definitions(PAYLOADS),
  };
}

export function definitions(payloads) {
  const list = Object.entries(payloads).map(([name, schema]) => {
    const { $schema: _, ...definition } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    return [name, definition];
  });
  return Object.fromEntries(list);
}
