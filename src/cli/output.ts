/** What commands print: one JSON document, or lines and tables for people, on stdout; everything else goes to stderr. */

/** Prints the one JSON document of a --json run. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function printLine(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** A remark that is no result. */
export function note(text: string): void {
  process.stderr.write(`beta: ${text}\n`);
}

/** Columns padded to their widest cell; numbers are aligned right. */
export function printTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const cells = rows.map((row) => row.map(String));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (right[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd();
  printLine(line(head));
  for (const row of cells) printLine(line(row));
}

/** Name and value pairs, one a line. */
export function printFacts(facts: readonly (readonly [string, string | number])[]): void {
  const width = Math.max(...facts.map(([name]) => name.length));
  for (const [name, value] of facts) printLine(`${name.padEnd(width)}  ${value}`);
}

/** 1039872 -> "1.0 MB". */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Text that came from outside, safe for a terminal: control characters become spaces. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}
