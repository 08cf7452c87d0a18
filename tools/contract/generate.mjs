// Writes every file that is derived from firmware-config/contract.yaml (what host and engine share) and
// native/vector/steps.yaml (what TypeScript and C share). With --check it writes nothing and fails when a file
// is stale. A further output, such as a SystemVerilog package, is one more line in `outputs` and one more writer.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { generate, root } from '../generated.mjs';
import { validateContract, validateSteps } from './validate.mjs';
import { contractHeader, stepsHeader } from './writers/c.mjs';
import { contractReference, stepsReference } from './writers/markdown.mjs';
import { contractModule, stepsModule } from './writers/typescript.mjs';

const read = (path) => parse(readFileSync(join(root, path), 'utf8'), { intAsBigInt: false });

const CONTRACT = 'firmware-config/contract.yaml';
const STEPS = 'native/vector/steps.yaml';
const contract = validateContract(read(CONTRACT), CONTRACT);
const steps = validateSteps(read(STEPS), STEPS);

const outputs = [
  ['src/device/contract.generated.ts', () => contractModule(contract, CONTRACT)],
  ['native/include/beta_contract.h', () => contractHeader(contract, CONTRACT)],
  ['docs/contract-reference.md', () => contractReference(contract, CONTRACT)],
  ['src/native/steps.generated.ts', () => stepsModule(steps, STEPS)],
  ['native/vector/steps.h', () => stepsHeader(steps, STEPS)],
  ['docs/vector-steps-reference.md', () => stepsReference(steps, STEPS)],
];

generate(outputs, 'npm run contract');
