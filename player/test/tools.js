/**
 * What several tests use.
 * @module
 */

/**
 * A generator of numbers from 0 to 1 that gives the same ones each time (mulberry32).
 * @param {number} seed
 */
export function random(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Pearson's test that counts follow shares.
 * @param {number[]} counts
 * @param {number[]} shares
 */
export function chiSquared(counts, shares) {
  const n = counts.reduce((a, b) => a + b, 0);
  const all = shares.reduce((a, b) => a + b, 0);
  let x = 0;
  counts.forEach((count, i) => {
    const expected = (n * (shares[i] ?? 0)) / all;
    x += (count - expected) ** 2 / expected;
  });
  const freedom = counts.length - 1;
  // Wilson and Hilferty's approximation, good to three digits from one degree of freedom on.
  const z = (Math.cbrt(x / freedom) - (1 - 2 / (9 * freedom))) / Math.sqrt(2 / (9 * freedom));
  return { x, p: 0.5 * erfc(z / Math.SQRT2) };
}

/** @param {number} x */
function erfc(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const c = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  const y = t * Math.exp(-x * x + c.reduceRight((sum, k) => sum * t + k, 0));
  return x >= 0 ? y : 2 - y;
}
