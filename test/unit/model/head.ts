/** The head of a description or a plan that is for sequence classification. */
export function classificationHead<Head extends { readonly task: string }>({
  head,
}: {
  readonly head: Head;
}): Extract<Head, { readonly task: 'sequence-classification' }> {
  if (head.task !== 'sequence-classification') throw new Error(`test: the head is for ${head.task}`);
  return head as Extract<Head, { readonly task: 'sequence-classification' }>;
}
