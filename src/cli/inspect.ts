/** `beta inspect`: what is in an artifact. */
import type { Command } from 'commander';
import { formatName, parseFormat } from '../device/descriptor.js';
import { Artifact } from '../model/artifact/read.js';
import { contextIntegers, linearIntegers, scoreIntegers } from '../model/integers.js';
import type {
  EpiloguePlan,
  LayerPlan,
  LinearPlan,
  Plan,
  ProbabilitiesPlan,
  QuantiserPlan,
} from '../model/plan.js';
import { modelFile } from './model-file.js';
import { formatBytes, printable, printFacts, printJson, printLine, printTable } from './output.js';

const name = (format: number) => {
  const parsed = parseFormat(format);
  return parsed ? formatName(parsed) : `0x${format.toString(16)}`;
};

/** One product of a layer: operand formats, and where its result is requantised. */
interface ProductRow {
  readonly product: string;
  readonly shape: string;
  readonly a: string;
  readonly b: string;
  readonly result: string;
  readonly why: string;
}

/** Codes of quantisers, with what is found at run time. */
const codes = (quantisers: readonly QuantiserPlan[]) =>
  quantisers.map(({ format, kind }) => `${name(format)}${FOUND[kind] ?? ''}`).join(' + ');

const FOUND: Readonly<Record<string, string>> = {
  'round-from-min': ' (minimum)',
  symmetric: ' (range)',
  asymmetric: ' (range)',
};

/** What a product leaves; `values` are integers of a width, or real. */
const result = (epilogue: EpiloguePlan, values: string) => {
  if (epilogue.kind !== 'affine') return `${name(epilogue.format)} in the engine`;
  return epilogue.quantisers.length > 0 ? `${values}, then ${codes(epilogue.quantisers)} on the CPU` : values;
};

const probabilityCodes = (probabilities: ProbabilitiesPlan) => {
  if (probabilities.kind === 'real') return 'real';
  return probabilities.kind === 'boolean' ? name(probabilities.format) : codes([probabilities.probability]);
};

function products(plan: Plan, layer: LayerPlan): ProductRow[] {
  const linear = (of: LinearPlan): ProductRow => ({
    product: of.name,
    shape: `${of.branches.length > 1 ? `${of.branches.length} x ` : ''}${of.branches[0]!.weight.cols} -> ${of.branches[0]!.weight.rows}`,
    a: codes(of.branches.map(({ input }) => input)),
    b: of.branches.map(({ weight }) => name(weight.format)).join(' + '),
    result: result(of.epilogue, `int${linearIntegers(of)}`),
    why: of.epilogue.why,
  });
  const { query, key, value, attention, output, up, down } = layer;
  const operand = ({ epilogue }: LinearPlan) =>
    epilogue.kind === 'affine' ? codes(epilogue.quantisers) : name(epilogue.format);
  const { probabilities, context } = attention;
  const integers = `int${scoreIntegers(plan, layer)}`;
  const scores =
    probabilities.kind === 'boolean'
      ? { result: `${name(probabilities.format)} in the engine`, why: 'P = 1 where the score is above 0' }
      : {
          result:
            probabilities.kind === 'real'
              ? `${integers}, then softmax on the CPU`
              : `${integers}, then softmax and ${codes([probabilities.probability])} on the CPU`,
          why: probabilities.exponentials
            ? `table of ${probabilities.exponentials.length} exponentials`
            : 'exp per element',
        };
  return [
    linear(query),
    linear(key),
    linear(value),
    { product: 'scores', shape: 'Q K^T', a: operand(query), b: operand(key), ...scores },
    {
      product: 'context',
      shape: 'P V',
      a: probabilityCodes(probabilities),
      b: operand(value),
      result: result(context, probabilities.kind === 'real' ? 'real' : `int${contextIntegers(plan, layer)}`),
      why: context.why,
    },
    linear(output),
    linear(up),
    linear(down),
  ];
}

function report(artifact: Artifact): void {
  const { plan, provenance } = artifact;
  printFacts([
    ['model', `${artifact.name} (${artifact.id})`],
    ['file', `${artifact.file}, ${formatBytes(artifact.fileBytes)}`],
    ['family', printable(plan.family)],
    ['task', plan.labels.length > 0 ? `${plan.head.task}, ${plan.labels.length} classes` : plan.head.task],
    [
      'encoder',
      `${plan.layers.length} layers, hidden ${plan.hidden}, ${plan.heads} heads, intermediate ${plan.intermediate}`,
    ],
    ['input', `up to ${plan.maxTokens} tokens, vocabulary of ${artifact.tokenizer.size}`],
    ['source', `${printable(provenance.source)}, SHA-256 ${provenance.sourceSha256}`],
    ['compiled by', printable(provenance.compiler)],
    [
      'needs',
      `A ${plan.requirements.aBits.join('/')}, B ${plan.requirements.bBits.join('/')}, output ${plan.requirements.oBits.join('/')} bits; MAX_K ${plan.requirements.maxK}, MAX_KP ${plan.requirements.maxKp}`,
    ],
    ['warnings', provenance.warnings.length === 0 ? 'none' : provenance.warnings.map(printable).join('; ')],
  ]);
  // Layers are usually alike: each distinct shape is shown once, with the layers that have it.
  const shapes = new Map<string, { rows: ProductRow[]; layers: number[] }>();
  plan.layers.forEach((layer, index) => {
    const rows = products(plan, layer).map((row) => ({
      ...row,
      product: printable(row.product.replace(/^.*\.layer\.\d+\./, '')),
    }));
    const shape = JSON.stringify(rows);
    const seen = shapes.get(shape);
    if (seen) seen.layers.push(index);
    else shapes.set(shape, { rows, layers: [index] });
  });
  for (const { rows, layers } of shapes.values()) {
    printLine(`\nlayer${layers.length > 1 ? 's' : ''} ${layers.join(', ')}`);
    printTable(
      ['product', 'shape', 'A', 'B', 'result', 'why'],
      rows.map(({ product, shape, a, b, result: left, why }) => [product, shape, a, b, left, printable(why)]),
    );
  }
}

export function register(program: Command): void {
  program
    .command('inspect')
    .summary('show what is in a .beta artifact')
    .description(
      'Shows a model: shape, provenance, what it needs of a device, and where each product is requantised. Checks every header field.',
    )
    .argument('<file>', 'artifact, or the name of a bundled model')
    .option('--json', 'print everything as JSON')
    .addHelpText('after', '\nExamples:\n  $ beta inspect intents\n  $ beta inspect model.beta --json')
    .action((file: string, options: { json?: true }) => {
      const artifact = Artifact.open(modelFile(file));
      if (!options.json) return report(artifact);
      const { plan, provenance, fileBytes, dataBytes } = artifact;
      printJson({
        model: { name: artifact.name, id: artifact.id },
        file: artifact.file,
        bytes: fileBytes,
        data_bytes: dataBytes,
        provenance,
        plan,
        tensors: Object.fromEntries([...artifact.tensors].map(([tensor, { bytes }]) => [tensor, bytes])),
      });
    });
}
