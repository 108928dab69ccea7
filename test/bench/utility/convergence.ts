import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drawPlot, type Plot } from '../../../cli/privacy/plot.ts'
import { seedOf } from './cell.ts'
import { errorsOf, expectedFloor, expectedNext, noiseVariance, type Quadratic } from './quadratic.ts'

const BASE: Quadratic = { dimension: 32, directions: 16, learningRate: 0.05, sigma: 1, rounds: 100 }
const DIRECTIONS = [1, 2, 4, 8, 16, 32, 64]
const SIGMAS = [0.25, 0.5, 1, 1.5, 2, 3]
const REPEATS = 8
const FLOOR_ROUNDS = 400
/** By then the start is forgotten. */
const SETTLED = 150
/** A step of rate 1 from the start shows one estimate of the gradient by itself. */
const ESTIMATES = 300

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const row = (...cells: readonly (string | number)[]): void => console.log(`| ${cells.join(' | ')} |`)

async function repeated(quadratic: Quadratic, measure: (errors: readonly number[]) => number, repeats = REPEATS) {
  const values: number[] = []
  for (let at = 0; at < repeats; at++) values.push(measure(await errorsOf(quadratic, seedOf(at))))
  return mean(values)
}

interface ByDirections {
  readonly directions: number
  /** Mean of |estimate - gradient|^2 at the start, where |gradient| is 1. */
  readonly variance: number
  readonly expectedVariance: number
  readonly error: number
  readonly expectedError: number
}

async function byDirections(directions: number): Promise<ByDirections> {
  const quadratic = { ...BASE, directions }
  const single = { ...quadratic, rounds: 1, learningRate: 1 }
  // theta - estimate - optimum, and theta - optimum is the gradient.
  const variance = await repeated(single, (errors) => errors[1]!, ESTIMATES)
  const error = await repeated(quadratic, (errors) => errors.at(-1)!)
  let expectedError = 1
  for (let round = 0; round < quadratic.rounds; round++) expectedError = expectedNext(quadratic, expectedError)
  const expectedVariance = (BASE.dimension - 1) / directions + BASE.dimension * noiseVariance(BASE.sigma)
  return { directions, variance, expectedVariance, error, expectedError }
}

interface BySigma {
  readonly sigma: number
  readonly floor: number
  readonly expected: number
}

async function bySigma(sigma: number): Promise<BySigma> {
  const quadratic = { ...BASE, sigma, rounds: FLOOR_ROUNDS }
  const floor = await repeated(quadratic, (errors) => mean(errors.slice(SETTLED)))
  return { sigma, floor, expected: expectedFloor(quadratic) }
}

const inTurn = async <From, To>(values: readonly From[], make: (value: From) => Promise<To>): Promise<To[]> => {
  const made: To[] = []
  for (const value of values) made.push(await make(value))
  return made
}

function variancePlot(measured: readonly ByDirections[]): Plot {
  const most = Math.max(...measured.map(({ variance }) => variance))
  const least = Math.min(...measured.map(({ expectedVariance }) => expectedVariance))
  const last = measured.at(-1)!
  return {
    title: 'Variance of a round’s gradient estimate falls like 1 / K',
    subtitle: `quadratic in ${BASE.dimension} dimensions, gradient of length 1, σ ${BASE.sigma}`,
    x: { title: 'directions K', from: 1, to: last.directions, whole: true },
    y: { title: 'mean squared error of the estimate', from: least, to: most, logarithmic: true },
    lines: [
      {
        ...{ kind: 'certified', name: 'measured', value: last.variance.toFixed(2) },
        points: measured.map(({ directions, variance }) => [directions, variance] as const),
      },
      {
        ...{ kind: 'rdp', name: '(d − 1) / K + d s²', value: last.expectedVariance.toFixed(2) },
        points: measured.map(({ directions, expectedVariance }) => [directions, expectedVariance] as const),
      },
    ],
    marks: [],
  }
}

function floorPlot(measured: readonly BySigma[]): Plot {
  const last = measured.at(-1)!
  return {
    title: 'The noise floor grows like σ²',
    subtitle: `quadratic in ${BASE.dimension} dimensions, K ${BASE.directions}, rate ${BASE.learningRate}`,
    x: { title: 'σ²', from: 0, to: last.sigma ** 2, whole: false },
    y: { title: 'squared distance from the optimum', from: 0, to: last.floor, logarithmic: false },
    lines: [
      {
        ...{ kind: 'certified', name: 'measured', value: last.floor.toFixed(3) },
        points: measured.map(({ sigma, floor }) => [sigma ** 2, floor] as const),
      },
      {
        ...{ kind: 'rdp', name: 'expected', value: last.expected.toFixed(3) },
        points: measured.map(({ sigma, expected }) => [sigma ** 2, expected] as const),
      },
    ],
    marks: [],
  }
}

function printDirections(measured: readonly ByDirections[]): void {
  row('K', 'error of an estimate', 'expected', `error after ${BASE.rounds} rounds`, 'expected')
  row(...Array.from({ length: 5 }, () => '---:'))
  for (const { directions, variance, expectedVariance, error, expectedError } of measured)
    row(directions, ...[variance, expectedVariance, error, expectedError].map((value) => value.toPrecision(3)))
}

function printSigmas(measured: readonly BySigma[]): void {
  row('σ', 'floor', 'expected', 'floor / σ²')
  row(...Array.from({ length: 4 }, () => '---:'))
  for (const { sigma, floor, expected } of measured)
    row(sigma, ...[floor, expected, floor / sigma ** 2].map((value) => value.toPrecision(3)))
}

/** How the mechanism converges where everything about it is known; `out` is a folder for the plots. */
export async function convergence({ out }: { out?: string | undefined }): Promise<void> {
  console.log(`Squared errors on a quadratic: d ${BASE.dimension}, rate ${BASE.learningRate}, at the start 1\n`)
  const directions = await inTurn(DIRECTIONS, byDirections)
  printDirections(directions)
  console.log()
  const sigmas = await inTurn(SIGMAS, bySigma)
  printSigmas(sigmas)
  if (out === undefined) return
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'convergence-directions.svg'), drawPlot(variancePlot(directions)))
  writeFileSync(join(out, 'convergence-noise.svg'), drawPlot(floorPlot(sigmas)))
}
