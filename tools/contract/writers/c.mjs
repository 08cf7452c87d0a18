// C headers: macros for the contract, packed-by-construction structs for records that C reads in place.
import { SIZES } from '../validate.mjs';

const hex = (value) => `0x${value.toString(16).toUpperCase().padStart(2, '0')}u`;
const C_TYPES = { u8: 'uint8_t', u16: 'uint16_t', u32: 'uint32_t', i32: 'int32_t', f64: 'double' };
const banner = (source) => `/* Generated from ${source} by "npm run contract". Do not edit. */\n`;
const define = (name, value, doc) => `#define ${name} ${value} /* ${doc} */\n`;

/** A struct with every gap spelled out, so that its layout is the record's on any ABI. */
function struct(name, fields, bytes) {
  let text = `typedef struct ${name} {\n`;
  let end = 0;
  let gaps = 0;
  const pad = (until) => {
    if (until > end) text += `  uint8_t gap${gaps++}[${until - end}];\n`;
  };
  for (const field of fields) {
    pad(field.offset);
    text += `  ${C_TYPES[field.type]} ${field.name}; /* ${field.doc} */\n`;
    end = field.offset + SIZES[field.type];
  }
  pad(bytes);
  text += `} ${name};\n`;
  text += `_Static_assert(sizeof(${name}) == ${bytes}, "layout of ${name}");\n`;
  for (const field of fields) {
    text += `_Static_assert(offsetof(${name}, ${field.name}) == ${field.offset}, "offset of ${name}.${field.name}");\n`;
  }
  return `${text}\n`;
}

export function contractHeader(contract, source) {
  let text = `${banner(source)}#ifndef BETA_CONTRACT_H\n#define BETA_CONTRACT_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n`;
  text += define('BETA_VERSION_MAJOR', `${contract.version.major}u`, 'contract version');
  text += define('BETA_VERSION_MINOR', `${contract.version.minor}u`, 'contract version');
  for (const { name, value, doc } of contract.constants) text += define(`BETA_${name}`, hex(value), doc);
  text += '\n';
  for (const register of contract.registers) {
    text += define(`BETA_REG_${register.name}`, hex(register.offset), `${register.writer}: ${register.doc}`);
    for (const [high, low, name, doc] of register.bits ?? []) {
      text += define(`BETA_${register.name}_${name}_SHIFT`, `${low}u`, doc);
      text += define(`BETA_${register.name}_${name}_MASK`, hex(2 ** (high - low + 1) - 1), doc);
    }
  }
  text += '\n';
  for (const [list, prefix] of [
    ['ops', 'OP'],
    ['flags', 'FLAG'],
    ['faults', 'FAULT'],
  ]) {
    for (const { name, value, doc } of contract[list])
      text += define(`BETA_${prefix}_${name}`, hex(value), doc);
    text += '\n';
  }
  for (const { name, value, doc } of contract.formats.encodings)
    text += define(`BETA_ENC_${name}`, `${value}u`, doc);
  text += define(
    'BETA_FMT_WIDTH_MASK',
    hex(2 ** (contract.formats.widthBits[0] + 1) - 1),
    'log2 of the width',
  );
  text += define('BETA_FMT_ENC_SHIFT', `${contract.formats.encodingBits[1]}u`, 'encoding');
  text += define(
    'BETA_FMT_ENC_MASK',
    hex(2 ** (contract.formats.encodingBits[0] - contract.formats.encodingBits[1] + 1) - 1),
    'encoding',
  );
  text += define('BETA_FMT_OPERAND_MAX_LOG2', `${contract.formats.operandMaxLog2}u`, 'widest operand');
  text += define('BETA_FMT_OUTPUT_MAX_LOG2', `${contract.formats.outputMaxLog2}u`, 'widest output');
  text += '\n';
  text += struct('beta_descriptor', contract.descriptor.fields, contract.descriptor.bytes);
  return `${text}#endif\n`;
}

export function stepsHeader(steps, source) {
  const bytes = steps.constants.find((entry) => entry.name === 'STEP_BYTES').value;
  let text = `${banner(source)}#ifndef BETA_VECTOR_STEPS_H\n#define BETA_VECTOR_STEPS_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n`;
  for (const { name, value, doc } of steps.constants) text += define(`BETA_${name}`, `${value}u`, doc);
  for (const { name, values } of steps.enums) {
    text += '\n';
    for (const entry of values)
      text += define(
        `BETA_${name.toUpperCase()}_${entry.name}`,
        `${entry.value}u`,
        entry.doc ?? entry.name.toLowerCase(),
      );
  }
  text += '\n';
  text += struct('beta_step', steps.header, bytes);
  for (const step of steps.steps) {
    text += define(`BETA_STEP_${step.name}`, `${step.value}u`, step.doc);
    text += struct(`beta_step_${step.name.toLowerCase()}`, [...steps.header, ...step.fields], bytes);
  }
  return `${text}#endif\n`;
}
