/** Trapezoid step of the integral below: what the rule leaves out is exp(-pi^2/step^2), 7e-18. */
const STEP = 0.5
const TERMS = Array.from({ length: 13 }, (_, i) => ({
  square: ((i + 1) * STEP) ** 2,
  weight: Math.exp(-(((i + 1) * STEP) ** 2)),
}))

/** erfc is 0 in double precision above this. */
const UNDERFLOW = 27.3

/** erf by its Taylor series at 0, for |x| <= 1. */
const errorFunction = (x: number): number => {
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

/**
 * erfc for x > 1: the trapezoid rule for (2x/pi) e^(-x^2) int_0^inf e^(-u^2)/(u^2 + x^2) du, plus the residue of the
 * pole at u = ix, which counts while x < pi/step (Chiarella, Reichel 1968, Math. Comp. 22).
 */
const complementary = (x: number): number => {
  if (x > UNDERFLOW) return 0
  let sum = 0.5 / (x * x)
  for (const { square, weight } of TERMS) sum += weight / (square + x * x)
  const residue = x < Math.PI / STEP ? -2 / Math.expm1((2 * Math.PI * x) / STEP) : 0
  return ((2 * STEP * x) / Math.PI) * Math.exp(-x * x) * sum + residue
}

/** P(N(0,1) > t), relative error about 1e-16 (1 + t^2). */
export const upperTail = (t: number): number => {
  const x = t / Math.SQRT2
  if (x > 1) return 0.5 * complementary(x)
  if (x < -1) return 1 - 0.5 * complementary(-x)
  return 0.5 - 0.5 * errorFunction(x)
}
