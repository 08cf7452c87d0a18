/**
 * From a scheduled graph to the arrays of a program: descriptors and records in the order in which they are submitted and run, and the
 * operations between them. Each step waits for the last tile that it depends on, and for no later one.
 */
import { DESCRIPTOR_BYTES } from '../device/contract.generated.js';
import { STEP_BYTES } from '../native/steps.generated.js';
import type { Graph } from './graph.js';
import { OperationWriter } from './operations.js';
import type { Program } from './program.js';
import type { Schedule } from './schedule.js';

export function emit(
  graph: Graph,
  schedule: Schedule,
  descriptors: Uint8Array,
  steps: Uint8Array,
): Pick<Program, 'descriptors' | 'steps' | 'operations' | 'graph' | 'schedule'> {
  const { nodes } = graph;
  const ordered = { descriptors: new Uint8Array(descriptors.length), steps: new Uint8Array(steps.length) };
  const operations = new OperationWriter();
  /** For each tile how many descriptors there are up to its last one. */
  const count = new Int32Array(nodes.length);
  let submitted = 0;
  let written = 0;
  let waited = 0;
  let records = 0;
  const submit = () => {
    if (written > submitted) operations.submit(submitted, written - submitted);
    submitted = written;
  };
  for (const index of schedule.order) {
    const node = nodes[index]!;
    const { first } = node;
    if (node.resource === 'engine') {
      ordered.descriptors.set(
        descriptors.subarray(first * DESCRIPTOR_BYTES, (first + node.count) * DESCRIPTOR_BYTES),
        written * DESCRIPTOR_BYTES,
      );
      written += node.count;
      count[index] = written;
      continue;
    }
    submit();
    let needed = 0;
    for (const before of node.before) if (count[before]! > needed) needed = count[before]!;
    if (needed > waited) {
      operations.wait(needed);
      waited = needed;
    }
    for (const { off, bytes } of node.syncBefore) operations.syncForCpu(off, bytes);
    ordered.steps.set(
      steps.subarray(first * STEP_BYTES, (first + node.count) * STEP_BYTES),
      records * STEP_BYTES,
    );
    operations.vector(records, node.count);
    records += node.count;
    for (const { off, bytes } of node.syncAfter) operations.syncForDevice(off, bytes);
  }
  submit();
  if (waited < submitted) operations.wait(submitted);
  return { ...ordered, operations: operations.finish(), graph, schedule };
}
