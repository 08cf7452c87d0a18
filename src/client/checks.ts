/** What is checked on this side: names before they become topics, answers before they are believed. */
import type { z } from 'zod';
import { RequestError } from './errors.js';
import { NAME_PATTERN } from './wire.js';

/** Throws RequestError 'bad_request'. */
export function checkName(what: string, name: string): void {
  if (!NAME_PATTERN.test(name))
    throw new RequestError(
      'bad_request',
      `${what} "${name.slice(0, 64)}": names have lower-case letters, digits and "-", at most 63, not "-" first`,
    );
}

/** An answer of this shape. Throws an Error that names the first field that is wrong. */
export function readAs<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Error(`${issue?.path.join('.')}: ${issue?.message}`);
}
