/** One line that redraws itself on a terminal, and nothing elsewhere: logs do not want it. */
export function progressLine(): { show: (text: string) => void; clear: () => void } {
  const live = process.stderr.isTTY === true;
  return {
    show: (text) => live && process.stderr.write(`\r\x1b[K${text}`),
    clear: () => live && process.stderr.write('\r\x1b[K'),
  };
}
