/** `beta bench serve`: requests through a real broker to a real daemon, beside the broker's bare echo and the forward pass in process. */
import type { Command } from 'commander';
import { modelFile } from '../model-file.js';
import { wholeNumber } from '../numbers.js';
import { note, printJson, printTable } from '../output.js';
import { seconds } from './seconds.js';
import { measure, type Options } from './serve/measure.js';
import type { Memory } from './serve/memory.js';
import { rounded } from './statistics.js';

export function register(bench: Command): void {
  bench
    .command('serve')
    .summary('measure requests over MQTT')
    .description(
      'Starts mosquitto and a daemon, and measures requests: one after another, many at once (also with several sentences each, and while models are loaded), and at fixed rates, where latency counts from when a request was due. In the same run: the bare echo of the broker (a message to oneself), a relay (a process that sends back what it gets, the least that any service costs), and the forward pass in this process, alone.',
    )
    .argument('[model]', 'artifact, or the name of a bundled model', 'intents')
    .option('--device <uri>', 'where to run', 'auto')
    .option('--broker <url>', 'use this broker instead of starting mosquitto')
    .option('--seconds <n>', 'time for each row', seconds, 3)
    .option('--concurrency <n>', 'requests under way when saturated', wholeNumber(1, 60_000), 512)
    .option('--requests <n>', 'requests when saturated, instead of a time', wholeNumber(1, 100_000_000))
    .option('--words <n>', 'words of a sentence', wholeNumber(1, 64), 8)
    .option('--texts <n>', 'sentences in a request', wholeNumber(1, 64), 1)
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench serve\n  $ beta bench serve model.beta --seconds 5 --json\n  $ beta bench serve --requests 1000000 --json',
    )
    .action(async (model: string, options: Options) => {
      const report = await measure(modelFile(model), options);
      if (options.json) return printJson(report);
      printTable(
        [
          'mode',
          'texts',
          'requests/s',
          'sentences/s',
          'p50 ms',
          'p99 ms',
          'echo p50 ms',
          'forward p50 ms',
          'forward rate/s',
          'unanswered',
          'errors',
          'loop late p99 ms',
          'engine busy',
        ],
        report.rows.map((row) => [
          row.mode,
          row.texts,
          row.rate,
          row.sentences,
          row.p50_ms,
          row.p99_ms,
          row.echo_p50_ms,
          row.forward_p50_ms,
          row.forward_rate,
          row.unanswered,
          Object.values(row.errors).reduce((a, b) => a + b, 0),
          row.daemon?.loop_delay_p99_ms ?? '',
          row.daemon?.engine_busy ?? '',
        ]),
      );
      const megabytes = ({ warm, end }: Memory) =>
        `${rounded(warm / 1e6)} MB warm, ${rounded(end / 1e6)} MB at the end`;
      const { daemon, engine } = report.resident_bytes;
      note(`resident: daemon ${megabytes(daemon)}; engine process ${megabytes(engine)}`);
      const { request_p50_ms, relay_p50_ms, echo_p50_ms } = report.between;
      note(
        `in turn, p50: request ${request_p50_ms} ms, relay ${relay_p50_ms} ms, echo ${echo_p50_ms} ms; relay alone ${report.relay_p50_ms} ms`,
      );
    });
}
