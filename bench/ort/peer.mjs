/**
 * The peer process of `beta bench forward`. Messages in: {shape}, which builds the four models, then {run: variant, ms}, which runs one of them
 * for about that long. Messages out: {ready: {version, variants}}, {times: [ms, ...]} or {error}. One thread.
 */
import ort from 'onnxruntime-node';
import { bertModel, WORD_COUNT } from './bert.mjs';

const VARIANTS = [
  ['plain', 'f32'],
  ['fused', 'f32'],
  ['plain', 'int8'],
  ['fused', 'int8'],
];
const sessions = new Map();
let feeds;

async function prepare(shape) {
  const ids = BigInt64Array.from({ length: shape.batch * shape.tokens }, (_, i) =>
    BigInt((i * 7919) % WORD_COUNT),
  );
  feeds = { ids: new ort.Tensor('int64', ids, [shape.batch, shape.tokens]) };
  sessions.clear();
  for (const [form, width] of VARIANTS) {
    const session = await ort.InferenceSession.create(bertModel(shape, form, width), {
      executionProviders: ['cpu'],
      graphOptimizationLevel: 'all',
      executionMode: 'sequential',
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
    });
    sessions.set(`${form} ${width}`, session);
  }
  return { version: ort.env.versions.node, variants: [...sessions.keys()] };
}

async function run(variant, ms) {
  const session = sessions.get(variant);
  const times = [];
  const end = performance.now() + ms;
  await session.run(feeds); // not timed: caches are warm for what follows
  do {
    const begin = performance.now();
    await session.run(feeds);
    times.push(performance.now() - begin);
  } while (performance.now() < end);
  return times;
}

process.on('message', async (message) => {
  try {
    process.send(
      message.shape ? { ready: await prepare(message.shape) } : { times: await run(message.run, message.ms) },
    );
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on('disconnect', () => process.exit(0));
