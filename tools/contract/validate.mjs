// Catches what a YAML schema would not: fields that overlap or are misaligned, registers that share a line with
// the other writer, names or values given twice.

export const SIZES = { u8: 1, u16: 2, u32: 4, i32: 4, f64: 8 };

function fail(source, message) {
  console.error(`${source}: ${message}`);
  process.exit(1);
}

function unique(source, what, values) {
  const seen = new Set();
  for (const value of values) {
    if (seen.has(value)) fail(source, `${what} ${value} is given twice`);
    seen.add(value);
  }
}

/** Fields must be aligned, ascending, apart and inside `bytes`. */
function layout(source, what, fields, bytes) {
  unique(
    source,
    `${what} field`,
    fields.map((field) => field.name),
  );
  let end = 0;
  for (const field of fields) {
    const size = SIZES[field.type];
    if (!size) fail(source, `${what}.${field.name}: unknown type ${field.type}`);
    if (field.offset % size !== 0) fail(source, `${what}.${field.name}: offset is not a multiple of ${size}`);
    if (field.offset < end) fail(source, `${what}.${field.name}: overlaps the field before it`);
    end = field.offset + size;
  }
  if (end > bytes) fail(source, `${what}: fields end at ${end}, past ${bytes} bytes`);
}

export function validateContract(contract, source) {
  unique(
    source,
    'constant',
    contract.constants.map((entry) => entry.name),
  );
  unique(
    source,
    'register',
    contract.registers.map((entry) => entry.name),
  );
  unique(
    source,
    'register offset',
    contract.registers.map((entry) => entry.offset),
  );
  const lines = new Map();
  for (const register of contract.registers) {
    if (register.offset % 4 !== 0) fail(source, `register ${register.name}: offset is not a multiple of 4`);
    // The identity registers (below 0x020) never change, so they alone may share a line with host words.
    if (register.offset < 0x020) continue;
    const line = register.offset >> 7;
    const writer = lines.get(line) ?? register.writer;
    if (writer !== register.writer)
      fail(source, `register ${register.name}: host and device words share a 128-byte line`);
    lines.set(line, writer);
  }
  layout(source, 'descriptor', contract.descriptor.fields, contract.descriptor.bytes);
  for (const list of ['ops', 'flags', 'faults']) {
    unique(
      source,
      list,
      contract[list].map((entry) => entry.name),
    );
    unique(
      source,
      list,
      contract[list].map((entry) => entry.value),
    );
  }
  return contract;
}

export function validateSteps(steps, source) {
  const bytes = steps.constants.find((entry) => entry.name === 'STEP_BYTES').value;
  unique(
    source,
    'step',
    steps.steps.map((entry) => entry.name),
  );
  unique(
    source,
    'step value',
    steps.steps.map((entry) => entry.value),
  );
  for (const step of steps.steps) layout(source, step.name, [...steps.header, ...step.fields], bytes);
  return steps;
}
