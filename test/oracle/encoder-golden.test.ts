/**
 * The oracles of BiBERT and TernaryBERT against what the official code computed in float64, where BETA_CHECKPOINTS names
 * a folder with trained checkpoints called bibert-... or ternarybert-...; the folder need not have any.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BiBertOracle } from './bibert.js';
import { loadTensors } from './checkpoint.js';
import type { OracleClass } from './encoder-support.js';
import type { OracleTensor } from './quantisers.js';
import { randomBiBertCheckpoint } from './random-bibert.js';
import { encoderModules, type RandomEncoderCheckpoint, type RandomEncoderOptions } from './random-encoder.js';
import { randomTernaryBertCheckpoint } from './random-ternarybert.js';
import { largestDifference } from './support.js';
import { TernaryBertOracle } from './ternarybert.js';
import { torchSave } from './torch-file.js';

interface Golden {
  sentences: {
    input_ids: number[];
    predicted: number;
    logits_float64: number[];
    min_decision_margin: number;
    quantiser_inputs_exactly_on_a_threshold: number;
  }[];
}
interface Intermediates {
  input_ids: number[];
  tensors: { name: string; shape: number[]; data: number[] }[];
  activation_quantisers_in_call_order?: { name: string; input_min: number; input_max: number }[];
}
interface FamilyUnderTest {
  prefix: string;
  Oracle: OracleClass;
  make(options: RandomEncoderOptions): RandomEncoderCheckpoint;
  /** an exact hit has one outcome; if not, the logits behind one may be others */
  hitsAreDefined: boolean;
  /** the range of what a quantiser gave out for inputs of this range */
  quantisedRange(low: number, high: number, name: string): [number, number];
}

const FAMILIES: FamilyUnderTest[] = [
  {
    prefix: 'bibert-',
    Oracle: BiBertOracle,
    make: randomBiBertCheckpoint,
    hitsAreDefined: true,
    quantisedRange: (low, high, name) => [
      name.includes('probabilities') ? 0 : Math.sign(low),
      Math.sign(high),
    ],
  },
  {
    prefix: 'ternarybert-',
    Oracle: TernaryBertOracle,
    make: randomTernaryBertCheckpoint,
    hitsAreDefined: false,
    quantisedRange: (low, high) => {
      const [l, h] = [Math.max(low, -2.5), Math.min(high, 2.5)];
      const step = Math.max(-l, h) / 127;
      return [Math.round(l / step) * step, Math.round(h / step) * step];
    },
  },
];

/** Half a unit of the eighth digit, which is as much as the file rounds, and the noise of float64. */
function rounding(value: number): number {
  return 0.5 * 10 ** (Math.floor(Math.log10(Math.abs(value))) - 7) + 1e-9;
}

/** The name in the list of quantisers for the trace of what one gave out. */
function quantiserName(trace: string): string {
  return trace
    .replace(' (quantised input)', ' (input)')
    .replace(/\.(query|key|value) \(output, quantised\)/, ' $1')
    .replace(/.* probabilities \(quantised\)/, 'attention probabilities');
}

const root = process.env.BETA_CHECKPOINTS ?? '';
const found = (existsSync(root) ? readdirSync(root) : []).flatMap((model) =>
  FAMILIES.filter(
    ({ prefix }) => model.startsWith(prefix) && existsSync(join(root, model, 'golden.json')),
  ).map((family) => ({ model, ...family })),
);
// (A file without any test is an error, so without folders one of each family stands in for them and is skipped.)
const models =
  found.length === 0 ? FAMILIES.map((family) => ({ model: `${family.prefix}*`, ...family })) : found;

describe.skipIf(found.length === 0).each(models)('the official code in float64, $model', (tested) => {
  const { Oracle, make, hitsAreDefined, quantisedRange } = tested;
  const folder = join(root, tested.model);
  const json = <T>(name: string): T => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T;

  it('agrees on logits, prediction, closest decision and exact hits of every golden sentence', {
    timeout: 120_000,
  }, () => {
    const { config, tensors } = loadTensors(folder);
    const oracle = new Oracle(config, tensors);
    const { sentences } = json<Golden>('golden.json');
    expect(sentences.length).toBe(64);
    for (const [i, sentence] of sentences.entries()) {
      const { logits, minDecisionMargin, ties } = oracle.forward(sentence.input_ids);
      const hits = sentence.quantiser_inputs_exactly_on_a_threshold;
      expect(logits.indexOf(Math.max(...logits)), `sentence ${i}`).toBe(sentence.predicted);
      if (!hitsAreDefined && hits > 0) {
        // A hit that fell the other way may make or undo later ones.
        expect(ties, `sentence ${i}`).toBeGreaterThan(0);
        expect(largestDifference(logits, sentence.logits_float64), `sentence ${i}`).toBeLessThan(0.2);
        continue;
      }
      expect(ties, `sentence ${i}`).toBe(hits);
      expect(largestDifference(logits, sentence.logits_float64), `sentence ${i}`).toBeLessThan(1e-8);
      expect(Math.abs(minDecisionMargin - sentence.min_decision_margin), `sentence ${i}`).toBeLessThan(1e-10);
    }
  });

  it('agrees on all 8 digits of every tensor inside the network', () => {
    const { config, tensors } = loadTensors(folder);
    const oracle = new Oracle(config, tensors);
    const sentences = json<Intermediates[]>('intermediates_float64.json');
    expect(sentences.length).toBe(4);
    for (const sentence of sentences) {
      const seen = new Map<string, Float64Array>();
      const { ties } = oracle.forward(sentence.input_ids, undefined, (name, shape, data) =>
        seen.set(`${name} [${shape}]`, data),
      );
      if (!hitsAreDefined && ties > 0) continue;
      for (const { name, shape, data } of sentence.tensors) {
        const values = seen.get(`${name} [${shape}]`)!;
        expect(values.length, name).toBe(data.length);
        const wrong = data.filter((expected, i) => !(Math.abs(values[i]! - expected) <= rounding(expected)));
        expect(wrong, name).toEqual([]);
      }
    }
  });

  it('calls the quantisers in the same order, and they give out what inputs of that range ask for', () => {
    const { config, tensors } = loadTensors(folder);
    const { input_ids, activation_quantisers_in_call_order: expected } = json<Intermediates[]>(
      'intermediates_float64.json',
    )[0]!;
    const calls: { name: string; quantised: Float64Array }[] = [];
    new Oracle(config, tensors).forward(input_ids, undefined, (name, _, quantised) => {
      if (name.includes('quantised')) calls.push({ name: quantiserName(name), quantised });
    });
    expect(calls.map(({ name }) => name)).toEqual(
      expected!.map(({ name }) => name.replace(/.* attn$/, 'attention probabilities')),
    );
    expected!.forEach(({ name, input_min, input_max }, i) => {
      const { quantised } = calls[i]!;
      const range = quantisedRange(input_min, input_max, name);
      expect(largestDifference([Math.min(...quantised), Math.max(...quantised)], range), name).toBeLessThan(
        1e-7,
      );
    });
  });

  it('has its file reproduced byte for byte by the writer, and its names and shapes by the random maker', () => {
    const { config, tensors } = loadTensors(folder);
    const number = (field: string): number => config[field] as number;
    const official = readFileSync(join(folder, 'pytorch_model.bin'));
    expect(torchSave(tensors, encoderModules(number('num_hidden_layers'))).equals(official)).toBe(true);
    const made = make({
      seed: 1,
      layers: number('num_hidden_layers'),
      hidden: number('hidden_size'),
      heads: number('num_attention_heads'),
      intermediate: number('intermediate_size'),
      vocab: number('vocab_size'),
      positions: number('max_position_embeddings'),
      labels: tensors.get('classifier.weight')!.shape[0]!,
    });
    const outline = (map: Map<string, OracleTensor>): string[] =>
      [...map].map(([name, { shape, data }]) => `${name} [${shape}] ${data.constructor.name}`);
    expect(outline(made.tensors)).toEqual(outline(tensors));
    for (const [name, { data }] of tensors)
      if (/clip|scale|gate/.test(name)) expect([...made.tensors.get(name)!.data], name).toEqual([...data]);
    const settings = ({ id2label: _, label2id: __, ...rest }: Record<string, unknown>): unknown => rest;
    expect(settings(made.config)).toEqual(settings(config));
    expect(Object.keys(made.config)).toEqual(Object.keys(config));
  });
});
