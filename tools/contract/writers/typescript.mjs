// TypeScript: plain `const` objects, so that values and types come from one place without enums.
import { SIZES } from '../validate.mjs';

const hex = (value) => `0x${value.toString(16).toUpperCase().padStart(2, '0')}`;
const banner = (source) => `// Generated from ${source} by "npm run contract". Do not edit.\n\n`;

function record(name, doc, entries) {
  const lines = entries.map(([key, value, note]) => `  /** ${note} */\n  ${key}: ${value},\n`);
  return `/** ${doc} */\nexport const ${name} = {\n${lines.join('')}} as const;\n\n`;
}

export function contractModule(contract, source) {
  let text = banner(source);
  text += `/** Contract version this host speaks. */\nexport const CONTRACT_VERSION = { major: ${contract.version.major}, minor: ${contract.version.minor} } as const;\n\n`;
  for (const { name, value, doc } of contract.constants)
    text += `/** ${doc} */\nexport const ${name} = ${hex(value)};\n`;
  text += '\n';
  text += record(
    'REG',
    'Register offsets.',
    contract.registers.map((r) => [r.name, hex(r.offset), `${r.writer}: ${r.doc}`]),
  );
  const masks = contract.registers.flatMap((r) =>
    (r.bits ?? []).map(([high, low, name, note]) => [
      `${r.name}_${name}`,
      `{ shift: ${low}, mask: ${hex(2 ** (high - low + 1) - 1)} }`,
      note,
    ]),
  );
  text += record('BITS', 'Fields inside registers: value = (word >>> shift) & mask.', masks);
  text += `/** Bytes of a descriptor. */\nexport const DESCRIPTOR_BYTES = ${contract.descriptor.bytes};\n\n`;
  text += record(
    'DESCRIPTOR',
    'Descriptor fields: offset and bytes.',
    contract.descriptor.fields.map((f) => [
      f.name,
      `{ offset: ${hex(f.offset)}, bytes: ${SIZES[f.type]} }`,
      f.doc,
    ]),
  );
  text += record(
    'OP',
    'Operations.',
    contract.ops.map((e) => [e.name, hex(e.value), e.doc]),
  );
  text += record(
    'FLAG',
    'Descriptor flags.',
    contract.flags.map((e) => [e.name, hex(e.value), e.doc]),
  );
  text += record(
    'ENCODING',
    'Encodings of a format byte.',
    contract.formats.encodings.map((e) => [e.name, e.value, e.doc]),
  );
  const { widthBits, encodingBits, operandMaxLog2, outputMaxLog2 } = contract.formats;
  text += record('FORMAT', 'Layout of a format byte.', [
    ['WIDTH_SHIFT', widthBits[1], 'log2 of the width'],
    ['WIDTH_MASK', hex(2 ** (widthBits[0] - widthBits[1] + 1) - 1), 'log2 of the width'],
    ['ENCODING_SHIFT', encodingBits[1], 'encoding'],
    ['ENCODING_MASK', hex(2 ** (encodingBits[0] - encodingBits[1] + 1) - 1), 'encoding'],
    ['OPERAND_MAX_LOG2', operandMaxLog2, 'widest operand: 8 bits'],
    ['OUTPUT_MAX_LOG2', outputMaxLog2, 'widest output: 32 bits'],
  ]);
  text += record(
    'FAULT',
    'Fault codes.',
    contract.faults.map((e) => [e.name, e.value, e.doc]),
  );
  text +=
    '/** What each fault means and what to do about it, by code. */\nexport const FAULT_TEXT: Readonly<Record<number, { name: string; doc: string; hint: string }>> = {\n';
  for (const { name, value, doc, hint } of contract.faults) {
    text += `  ${value}: { name: '${name}', doc: ${JSON.stringify(doc)}, hint: ${JSON.stringify(hint ?? '')} },\n`;
  }
  return `${text}};\n`;
}

export function stepsModule(steps, source) {
  let text = banner(source);
  for (const { name, value, doc } of steps.constants)
    text += `/** ${doc} */\nexport const ${name} = ${value};\n`;
  text += '\n';
  for (const { name, values } of steps.enums) {
    text += record(
      name.toUpperCase(),
      name,
      values.map((e) => [e.name, e.value, e.doc ?? e.name.toLowerCase()]),
    );
  }
  text += "/** Field types of a record. */\nexport type StepFieldType = 'u8' | 'u32' | 'i32' | 'f64';\n\n";
  text += '/** Every step: op code, and offset and type of each field. */\nexport const STEP = {\n';
  for (const step of steps.steps) {
    text += `  /** ${step.doc} */\n  ${step.name}: {\n    op: ${step.value},\n    fields: {\n`;
    for (const field of [...steps.header.filter((f) => f.name !== 'op'), ...step.fields]) {
      text += `      /** ${field.doc} */\n      ${field.name}: { offset: ${hex(field.offset)}, type: '${field.type}' },\n`;
    }
    text += '    },\n  },\n';
  }
  return `${text}} as const;\n`;
}
