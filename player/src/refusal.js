/**
 * What a server says that gives no stream.
 * @module
 */

/**
 * What an answer that is no stream means.
 * @param {Response} answer
 * @returns {Promise<import('./machine.js').Failure>}
 */
export async function refusal(answer) {
  const detail = `HTTP ${answer.status}`;
  if (answer.status === 404) return { why: 'missing', detail };
  if (answer.status !== 503) return { why: 'http', detail };
  const text = await answer.text().catch(() => '');
  const seconds = Number(answer.headers.get('Retry-After') ?? '');
  /** @type {any} */
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // A mirror without its master answers in plain words.
  }
  if (body?.code !== 'full' && body?.code !== 'draining') return { why: 'http', detail };
  /** @type {import('./machine.js').Failure} */
  const failure = { why: 'busy', detail: `${detail}, ${body.code}` };
  if (seconds > 0) failure.retryAfter = Math.min(seconds, 60) * 1000;
  if (typeof body.sibling === 'string' && /^https?:\/\/[^\s]+$/.test(body.sibling)) {
    failure.sibling = body.sibling.replace(/\/+$/, '');
  }
  return failure;
}
