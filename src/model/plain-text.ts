/**
 * Text that came from outside, safe to show: characters that move a cursor or turn the direction of text become U+FFFD.
 * Line feeds stay, because messages of several lines are ours.
 */
export function plainText(text: string): string {
  return text.replace(/[^\P{C}\n]/gu, '\ufffd');
}
