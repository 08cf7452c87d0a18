import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ERROR_CODES,
  filters,
  parseTopic,
  RequestSchema,
  replyTopicProblem,
  topics,
} from '../../../src/client/wire.js';

describe('topics', () => {
  it('are those of the design', () => {
    expect(topics.nodeState('kitchen')).toBe('beta/1/node/kitchen/state');
    expect(topics.nodeInfo('kitchen')).toBe('beta/1/node/kitchen/info');
    expect(topics.nodeInfer('kitchen', 'intents')).toBe('beta/1/node/kitchen/infer/intents');
    expect(topics.modelInfer('intents')).toBe('beta/1/model/intents/infer');
    expect(topics.reply('abc')).toBe('beta/1/reply/abc');
    expect(filters.sharedModelInfer('intents')).toBe('$share/beta/beta/1/model/intents/infer');
    expect(filters.nodeInfer('kitchen')).toBe('beta/1/node/kitchen/infer/+');
    expect(filters.anyModelInfer).toBe('beta/1/model/+/infer');
  });

  it('are taken apart again', () => {
    expect(parseTopic('beta/1/node/a/infer/m')).toEqual({ kind: 'node-infer', node: 'a', model: 'm' });
    expect(parseTopic('beta/1/model/m/infer')).toEqual({ kind: 'model-infer', model: 'm' });
    expect(parseTopic('beta/1/node/a/state')).toEqual({ kind: 'node-state', node: 'a' });
    expect(parseTopic('beta/1/node/a/info')).toEqual({ kind: 'node-info', node: 'a' });
  });

  it.each([
    '',
    'beta/2/model/m/infer',
    'beta/1/model/m/infer/x',
    'beta/1/model/m',
    'beta/1/node/a/infer',
    'beta/1/node/a/infer/m/x',
    'beta/1/node/a/state/x',
    'beta/1/reply/x',
    'other/1/model/m/infer',
    '/beta/1/model/m/infer',
  ])('does not take %j for one of its own', (topic) => {
    expect(parseTopic(topic)).toBeUndefined();
  });

  it('takes any string apart without throwing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (topic) => {
        parseTopic(topic);
        parseTopic(`beta/1/${topic}`);
        replyTopicProblem(topic);
      }),
    );
  });
});

describe('reply topics', () => {
  it.each(['beta/1/reply/x', 'my/answers', 'a', 'beta', 'beta/10/node/x', 'ä/ß', 'x'.repeat(512)])(
    'allows %j',
    (topic) => {
      expect(replyTopicProblem(topic)).toBeUndefined();
    },
  );

  it.each([
    ['', 'empty'],
    ['a/+/b', 'wildcard'],
    ['a/#', 'wildcard'],
    ['$SYS/broker', '$'],
    ['$share/g/t', '$'],
    ['x'.repeat(513), 'longer'],
    ['ä'.repeat(257), 'longer'],
    ['a/'.repeat(40), 'levels'],
    ['a\u0000b', 'forbids'],
    ['a\u0001b', 'forbids'],
    ['a\u009fb', 'forbids'],
    ['a\ud800b', 'forbids'],
    ['a\uffffb', 'forbids'],
    ['a\ufdd0b', 'forbids'],
    ['beta/1', 'reply'],
    ['beta/1/node/kitchen/state', 'reply'],
    ['beta/1/node/kitchen/infer/intents', 'reply'],
    ['beta/1/model/intents/infer', 'reply'],
    ['beta/1/reply', 'reply'],
  ])('refuses %j', (topic, reason) => {
    expect(replyTopicProblem(topic)).toContain(reason);
  });
});

describe('request schema', () => {
  const ok = (value: unknown) => RequestSchema.safeParse(value).success;

  it('takes the three forms and their options', () => {
    expect(ok({ text: 'hello' })).toBe(true);
    expect(ok({ texts: ['a', 'b'], top: 3, logits: true, truncate: true })).toBe(true);
    expect(ok({ input_ids: [[2, 3]], id: 7, replyTo: 'x' })).toBe(true);
    expect(ok({ text: 'hello', id: 'seven' })).toBe(true);
  });

  it('refuses what is not one of them', () => {
    expect(ok({})).toBe(false);
    expect(ok({ text: 'a', texts: ['b'] })).toBe(false);
    expect(ok({ text: 1 })).toBe(false);
    expect(ok({ texts: [] })).toBe(false);
    expect(ok({ texts: 'a' })).toBe(false);
    expect(ok({ text: 'a', top: 0 })).toBe(false);
    expect(ok({ text: 'a', top: 1.5 })).toBe(false);
    expect(ok({ text: 'a', id: {} })).toBe(false);
    expect(ok({ text: 'a', id: 'x'.repeat(257) })).toBe(false);
    expect(ok({ input_ids: [[2, 3]], truncate: true })).toBe(false);
  });

  it('names an unknown key', () => {
    const result = RequestSchema.safeParse({ text: 'a', txet: 1 });
    expect(result.error?.issues[0]?.message).toContain('txet');
    const proto = RequestSchema.safeParse(JSON.parse('{"text": "a", "__proto__": {"logits": true}}'));
    expect(proto.success).toBe(false);
  });
});

it('error codes are stable', () => {
  expect(Object.keys(ERROR_CODES)).toEqual([
    'bad_json',
    'bad_cbor',
    'bad_content_type',
    'bad_request',
    'payload_too_large',
    'unknown_model',
    'empty_text',
    'text_too_long',
    'bad_ids',
    'too_many_inputs',
    'busy',
    'expired',
    'cancelled',
    'refused',
    'shutting_down',
    'device_error',
    'internal',
  ]);
});
