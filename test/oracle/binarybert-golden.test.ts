/**
 * BinaryBERT's oracle against what the official code computed in float64, where BETA_CHECKPOINTS names a folder with
 * trained checkpoints called binarybert-...; the folder need not have any.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BinaryBertOracle } from './binarybert.js';
import { loadTensors } from './checkpoint.js';
import type { OracleTensor } from './quantisers.js';
import { binaryBertModules, randomBinaryBertCheckpoint } from './random-binarybert.js';
import { largestDifference } from './support.js';
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
  activation_quantisers_in_call_order?: {
    name: string;
    input_min: number;
    input_max: number;
    clip_or_step: number[];
  }[];
}

/** Half a unit of the seventh digit, which is as much as the file rounds, and the noise of float64. */
function rounding(value: number): number {
  return 0.5 * 10 ** (Math.floor(Math.log10(Math.abs(value))) - 6) + 1e-9;
}

const root = process.env.BETA_CHECKPOINTS ?? '';
const found = (existsSync(root) ? readdirSync(root) : []).filter(
  (name) => name.startsWith('binarybert-') && existsSync(join(root, name, 'golden.json')),
);

// (A file without any test is an error, so without folders one name stands in for them and is skipped.)
const names = found.length === 0 ? ['binarybert-*'] : found;

describe.skipIf(found.length === 0).each(names)('the official code in float64, %s', (model) => {
  const folder = join(root, model);
  const json = <T>(name: string): T => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T;

  it('agrees on the logits, the closest decision and the ties of every golden sentence', {
    timeout: 120_000,
  }, () => {
    const { config, tensors } = loadTensors(folder);
    const oracle = new BinaryBertOracle(config, tensors);
    const { sentences } = json<Golden>('golden.json');
    expect(sentences.length).toBe(64);
    for (const sentence of sentences) {
      const { logits, minDecisionMargin, ties } = oracle.forward(sentence.input_ids);
      expect(largestDifference(logits, sentence.logits_float64)).toBeLessThan(1e-8);
      expect(logits.indexOf(Math.max(...logits))).toBe(sentence.predicted);
      expect(Math.abs(minDecisionMargin - sentence.min_decision_margin)).toBeLessThan(1e-10);
      expect(ties).toBe(sentence.quantiser_inputs_exactly_on_a_threshold);
    }
  });

  it('agrees on all 7 digits of every tensor inside the network', () => {
    const { config, tensors } = loadTensors(folder);
    const oracle = new BinaryBertOracle(config, tensors);
    const sentences = json<Intermediates[]>('intermediates_float64.json');
    expect(sentences.length).toBe(4);
    for (const sentence of sentences) {
      const seen = new Map<string, Float64Array>();
      oracle.forward(sentence.input_ids, undefined, (name, shape, data) =>
        seen.set(`${name} [${shape}]`, data),
      );
      for (const { name, shape, data } of sentence.tensors) {
        const values = seen.get(`${name} [${shape}]`)!;
        expect(values.length, name).toBe(data.length);
        const wrong = data.filter((expected, i) => !(Math.abs(values[i]! - expected) <= rounding(expected)));
        expect(wrong, name).toEqual([]);
      }
    }
  });

  it('calls the quantisers in the same order with inputs of the same range and the same clip values', () => {
    const { config, tensors } = loadTensors(folder);
    const { input_ids, activation_quantisers_in_call_order: expected } = json<Intermediates[]>(
      'intermediates_float64.json',
    )[0]!;
    const calls: { name: string; input: Float64Array }[] = [];
    new BinaryBertOracle(config, tensors).forward(input_ids, undefined, (name, _, input) => {
      if (/ \(input\)$|\.self (query|key|attn|value)$/.test(name)) calls.push({ name, input });
    });
    expect(calls.map(({ name }) => name)).toEqual(expected!.map(({ name }) => name));
    expected!.forEach(({ name, input_min, input_max, clip_or_step }, i) => {
      const { input } = calls[i]!;
      expect(Math.abs(Math.min(...input) - input_min), name).toBeLessThan(1e-7);
      expect(Math.abs(Math.max(...input) - input_max), name).toBeLessThan(1e-7);
      const key = name.endsWith(' (input)')
        ? name.replace(' (input)', '.input_clip_val')
        : name.replace(/ (\w+)$/, '.clip_$1');
      expect(largestDifference(tensors.get(key)!.data, clip_or_step), name).toBeLessThan(1e-7);
    });
  });

  it('has its file reproduced byte for byte by the writer, and its names and shapes by the random maker', () => {
    const { config, tensors } = loadTensors(folder);
    const layers = config.num_hidden_layers as number;
    const official = readFileSync(join(folder, 'pytorch_model.bin'));
    expect(torchSave(tensors, binaryBertModules(layers)).equals(official)).toBe(true);
    const made = randomBinaryBertCheckpoint({
      seed: 1,
      layers,
      hidden: config.hidden_size as number,
      attention: config.dyna_hidden_size as number,
      heads: config.num_attention_heads as number,
      intermediate: config.intermediate_size as number,
      vocab: config.vocab_size as number,
      positions: config.max_position_embeddings as number,
      labels: config.num_labels as number,
      bits: config.input_bits as 4 | 8,
      method: config.input_quant_method as 'uniform' | 'lsq',
    });
    const outline = (map: Map<string, OracleTensor>): string[] =>
      [...map].map(([name, { shape, data }]) => `${name} [${shape}] ${data.constructor.name}`);
    expect(outline(made.tensors)).toEqual(outline(tensors));
    expect(Object.keys(made.config)).toEqual(Object.keys(config));
    expect(made.config.hidden_act).toBe(config.hidden_act);
  });
});
