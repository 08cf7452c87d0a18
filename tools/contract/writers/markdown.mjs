// The reference tables in docs/.
const hex = (value, digits = 2) => `0x${value.toString(16).toUpperCase().padStart(digits, '0')}`;
const banner = (source) => `<!-- Generated from ${source} by "npm run contract". Do not edit. -->\n\n`;
const cell = (value) => String(value).replaceAll('|', '\\|');

function table(head, rows) {
  const line = (cells) => `| ${cells.map(cell).join(' | ')} |\n`;
  return `${line(head)}${line(head.map(() => '---'))}${rows.map(line).join('')}\n`;
}

export function contractReference(contract, source) {
  const { major, minor } = contract.version;
  let text = `${banner(source)}# Engine contract reference, v${major}.${minor}\n\n`;
  text +=
    "BETA's authors published no RTL and no register map. This contract is ours: an open QMM engine in the spirit of BETA.\n";
  text += 'The reasoning is in [contract.md](contract.md).\n\n';
  text += '## Constants\n\n';
  text += table(
    ['name', 'value', 'meaning'],
    contract.constants.map((c) => [c.name, hex(c.value), c.doc]),
  );
  text += '## Registers\n\nAligned 32-bit accesses only; other offsets read 0 and ignore writes.\n\n';
  text += table(
    ['offset', 'name', 'writer', 'meaning', 'bits'],
    contract.registers.map((r) => [
      hex(r.offset, 3),
      r.name,
      r.writer,
      r.doc,
      (r.bits ?? [])
        .map(([high, low, name, doc]) => `${high === low ? high : `${high}:${low}`} ${name} (${doc})`)
        .join('; '),
    ]),
  );
  text += `## Descriptor\n\n${contract.descriptor.bytes} bytes, ${contract.descriptor.bytes}-byte aligned, little-endian.\n\n`;
  text += table(
    ['offset', 'type', 'field', 'meaning'],
    contract.descriptor.fields.map((f) => [hex(f.offset), f.type, f.name, f.doc]),
  );
  text += '### Operations and flags\n\n';
  text += table(
    ['name', 'value', 'meaning'],
    [...contract.ops, ...contract.flags].map((e) => [e.name, hex(e.value), e.doc]),
  );
  text += '### Format byte\n\nBits 2:0 log2 of the width, bits 5:4 the encoding, the rest zero.\n\n';
  text += table(
    ['encoding', 'value', 'meaning'],
    contract.formats.encodings.map((e) => [e.name, e.value, e.doc]),
  );
  text +=
    "## Faults\n\nChecked in this order, and inside a class in the order of the descriptor's fields; the first is reported.\n\n";
  text += table(
    ['code', 'name', 'meaning', 'what to do'],
    contract.faults.map((f) => [f.value, f.name, f.doc, f.hint ?? '']),
  );
  return `${text.trimEnd()}\n`;
}

export function stepsReference(steps, source) {
  const bytes = steps.constants.find((entry) => entry.name === 'STEP_BYTES').value;
  let text = `${banner(source)}# Vector steps reference\n\n`;
  text += `Records of ${bytes} bytes, little-endian; addresses are window offsets, 0 means absent. A producer is followed by its\n`;
  text += '`consumers` QUANTISE records. Why they are shaped so: [architecture.md](architecture.md).\n\n';
  for (const { name, values } of steps.enums) {
    text += `## ${name}\n\n${table(
      ['value', 'name', 'meaning'],
      values.map((e) => [e.value, e.name, e.doc ?? '']),
    )}`;
  }
  for (const step of steps.steps) {
    text += `## ${step.name} (op ${step.value})\n\n${step.doc}\n\n`;
    text += table(
      ['offset', 'type', 'field', 'meaning'],
      [...steps.header, ...step.fields].map((f) => [hex(f.offset), f.type, f.name, f.doc]),
    );
  }
  return `${text.trimEnd()}\n`;
}
