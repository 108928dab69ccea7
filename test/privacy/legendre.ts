/** A quadrature rule on [-1, 1]. */
export interface Rule {
  readonly nodes: readonly number[]
  readonly weights: readonly number[]
}

/** P_n(x) and its derivative, by the three-term recurrence. */
const legendre = (n: number, x: number): [number, number] => {
  let before = 1
  let value = x
  for (let k = 2; k <= n; k++) [before, value] = [value, ((2 * k - 1) * x * value - (k - 1) * before) / k]
  return [value, (n * (x * value - before)) / (x * x - 1)]
}

/** The Gauss-Legendre rule with n nodes: the roots of P_n by Newton's method from Tricomi's guess. */
export const gaussLegendre = (n: number): Rule => {
  const nodes = Array.from({ length: n }, (_, i) => {
    let x = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5))
    for (let step = 0; step < 8; step++) {
      const [value, slope] = legendre(n, x)
      x -= value / slope
    }
    return x
  })
  return { nodes, weights: nodes.map((x) => 2 / ((1 - x * x) * legendre(n, x)[1] ** 2)) }
}

/** Each panel next to a kink is this much narrower than the one beyond it. */
const GRADING = 4
const GRADED_PANELS = 21

/** Ends of panels in [from, to]: at most `width` wide, and narrowing geometrically towards every kink. */
const panelEnds = (from: number, to: number, width: number, kinks: readonly number[]): number[] => {
  const count = Math.ceil((to - from) / width)
  const even = Array.from({ length: count + 1 }, (_, i) => from + ((to - from) * i) / count)
  const graded = kinks.flatMap((kink) => [
    kink,
    ...Array.from({ length: GRADED_PANELS }, (_, j) => width / GRADING ** j).flatMap((d) => [kink - d, kink + d]),
  ])
  return [...even, ...graded].filter((x) => x >= from && x <= to).sort((a, b) => a - b)
}

/** Integral of f from `from` to `to`; between kinks f varies on the scale of `width` or of the distance to a kink. */
export const integrate = (
  f: (x: number) => number,
  domain: { from: number; to: number; width: number; kinks: readonly number[] },
  { nodes, weights }: Rule,
): number => {
  const ends = panelEnds(domain.from, domain.to, domain.width, domain.kinks)
  let sum = 0
  for (let panel = 1; panel < ends.length; panel++) {
    const half = (ends[panel]! - ends[panel - 1]!) / 2
    const middle = (ends[panel]! + ends[panel - 1]!) / 2
    for (let i = 0; half > 0 && i < nodes.length; i++) sum += half * weights[i]! * f(middle + half * nodes[i]!)
  }
  return sum
}
