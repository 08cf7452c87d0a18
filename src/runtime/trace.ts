/**
 * Timelines in Chrome's trace event format, which Perfetto and chrome://tracing open: one track for the engine, one for the CPU. Measured
 * ones come from a run (native/include/beta.h says what its times are), predicted ones from a schedule.
 */
import type { GraphNode } from '../compiler/graph.js';
import { readOperations } from '../compiler/operations.js';
import type { Program } from '../compiler/program.js';
import { REASONS } from '../compiler/schedule.js';
import { DESCRIPTOR_BYTES } from '../device/contract.generated.js';
import { decodeDescriptor, formatName, parseFormat } from '../device/descriptor.js';

interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'M';
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args?: Readonly<Record<string, string | number>>;
}

export interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: 'ns';
  readonly otherData: Readonly<Record<string, string>>;
}

const PID = 1;
const TRACKS = { engine: 1, cpu: 2 } as const;

const metadata = (name: string, tid: number, value: string): TraceEvent => ({
  name,
  ph: 'M',
  pid: PID,
  tid,
  args: { name: value },
});

function traceOf(title: string, events: readonly TraceEvent[], otherData: Trace['otherData']): Trace {
  return {
    traceEvents: [
      metadata('process_name', 0, title),
      metadata('thread_name', TRACKS.engine, 'engine'),
      metadata('thread_name', TRACKS.cpu, 'CPU'),
      ...events,
    ],
    displayTimeUnit: 'ns',
    otherData,
  };
}

const slice = (
  on: keyof typeof TRACKS,
  name: string,
  begin: number,
  end: number,
  args: TraceEvent['args'],
): TraceEvent => ({
  name,
  cat: on,
  ph: 'X',
  pid: PID,
  tid: TRACKS[on],
  ts: begin / 1000,
  dur: Math.max(end - begin, 0) / 1000,
  ...(args && { args }),
});

const nameOf = ({ layer, what }: { layer: number; what: string }, layers: number) =>
  layer < 0 || layer >= layers ? what : `layer ${layer} ${what}`;

/** The steps of one operation: what they are, and how many where there are several. */
function stepsSlice(steps: readonly GraphNode[], layers: number, begin: number, end: number): TraceEvent {
  const names = new Set(steps.map((step) => nameOf(step, layers)));
  const args = steps.length > 1 ? { steps: steps.length } : undefined;
  return slice('cpu', [...names].join(', '), begin, end, args);
}

/** Takes the steps of the next `records` records off `nodes`. */
function takeSteps(nodes: GraphNode[], records: number): GraphNode[] {
  let count = 0;
  for (let taken = 0; taken < records; count++) taken += nodes[count]!.count;
  return nodes.splice(0, count);
}

/** What a descriptor multiplies. */
function shapeOf(view: DataView, index: number): Record<string, string | number> {
  const d = decodeDescriptor(view, index * DESCRIPTOR_BYTES);
  const format = (byte: number) => formatName(parseFormat(byte)!);
  return { M: d.m, N: d.n, K: d.k, a: format(d.a_fmt), b: format(d.b_fmt), o: format(d.o_fmt) };
}

/** The timeline of a run of `program`, as Device.run() left it. */
export function measuredTrace(
  title: string,
  program: Program,
  layers: number,
  timeline: Float64Array,
): Trace {
  const { graph, schedule } = program;
  const operations = readOperations(program.operations);
  const nodes = schedule.order.map((node) => graph.nodes[node]!);
  const tiles = nodes
    .filter(({ resource }) => resource === 'engine')
    .flatMap((node) => Array(node.count).fill(node));
  const steps = nodes.filter(({ resource }) => resource === 'cpu');
  const events: TraceEvent[] = [];
  operations.forEach((operation, index) => {
    const [begin, end] = [timeline[2 * index]!, timeline[2 * index + 1]!];
    if (operation.kind === 'vector')
      events.push(stepsSlice(takeSteps(steps, operation.count), layers, begin, end));
    else if (operation.kind === 'submit')
      events.push(slice('cpu', 'submit', begin, end, { first: operation.first, count: operation.count }));
    else if (operation.kind === 'wait')
      events.push(slice('cpu', 'fence', begin, end, { count: operation.count }));
    else events.push(slice('cpu', operation.kind, begin, end, { bytes: operation.bytes }));
  });
  const view = new DataView(program.descriptors.buffer, program.descriptors.byteOffset);
  let done = 0;
  tiles.forEach((tile, index) => {
    const at = 2 * (operations.length + index);
    const [submitted, complete] = [timeline[at]!, timeline[at + 1]!];
    // It cannot have begun before it was submitted, nor before the one before it was complete.
    events.push(
      slice('engine', nameOf(tile, layers), Math.max(submitted, done), complete, {
        descriptor: index,
        ...shapeOf(view, index),
      }),
    );
    done = complete;
  });
  return traceOf(title, events, {
    times:
      'measured: completion of a tile is when the host saw it, between its own operations and while it waits',
  });
}

/** The timeline that the scheduler predicts. */
export function predictedTrace(title: string, { graph, schedule }: Program, layers: number): Trace {
  const events = schedule.order.map((index) => {
    const node = graph.nodes[index]!;
    return slice(node.resource, nameOf(node, layers), schedule.begin[index]!, schedule.end[index]!, {
      why: REASONS[schedule.reasons[index]!],
    });
  });
  return traceOf(title, events, { times: 'predicted by the cost model' });
}
