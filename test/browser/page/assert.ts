/* What the kernels' cases take from node:assert/strict, for a page. */

class AssertionError extends Error {}

function fail(message: string): never {
  throw new AssertionError(message);
}

function ok(value: unknown, message = 'not ok'): void {
  if (!value) fail(message);
}

function equal(got: unknown, expected: unknown, message = `${got} is not ${expected}`): void {
  ok(Object.is(got, expected), message);
}

/** For typed arrays, which is all that the cases compare. */
function deepEqual(got: ArrayLike<number>, expected: ArrayLike<number>, message?: string): void {
  equal(got.length, expected.length, message);
  for (let i = 0; i < got.length; i++) equal(got[i], expected[i], message);
}

export default { deepEqual, equal, fail, ok };
