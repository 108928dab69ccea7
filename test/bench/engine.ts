import { CALL_LIMITS } from '../../gpu-worker/engine/device/index.ts'
import { type FullRatio, fullRatio } from './engine/full.ts'
import { type LoraRatios, loraRatios } from './engine/lora.ts'
import { type PeakMemory, peakMemory } from './engine/memory.ts'
import type { Duration } from './engine/paired.ts'
import { compareWithTorch, type TorchComparison, torchMissing } from './torch/compare.ts'

/** Few turns where a turn is long. */
const LORA = [
  { tokens: 32, directions: 8, records: 16, turns: 7 },
  { tokens: 32, directions: 16, records: 16, turns: 5 },
  { tokens: 128, directions: 8, records: 16, turns: 3 },
  { tokens: 128, directions: 16, records: 8, turns: 3 },
]
const FULL = [
  { forwardTokens: 1024, tokens: 32, turns: 7 },
  { forwardTokens: 4096, tokens: 128, turns: 5 },
]
/** Rounds long enough that two threads are spread over two cores before they end. */
const TORCH = { tokens: 32, records: 16, directions: 32, threads: 2, turns: 3 }

/** Ratios that the engine is judged by: the worst over all settings that were measured, CPU time with one thread. */
export interface EngineRatios {
  readonly loraAllLayers: number
  readonly loraVsOneCall: number
  readonly loraLastThird: number
  /** At the most directions: the base costs one forward in K + 1. */
  readonly oneSidedOverTwoSided: number
  /** At 1,024 tokens a forward. */
  readonly fullDensePair: number
  /** At 4,096. */
  readonly fullDensePairLong: number
  readonly peakMemory: number
}

interface Measured {
  readonly lora: readonly LoraRatios[]
  readonly full: readonly FullRatio[]
  readonly memory: PeakMemory
  readonly torch: TorchComparison | { readonly skipped: string }
}

const worst = (durations: readonly Duration[]): number => Math.max(...durations.map(({ cpu }) => cpu))

function ratiosOf({ lora, full, memory }: Measured): EngineRatios {
  const most = Math.max(...lora.map(({ directions }) => directions))
  const [short, long] = full as [FullRatio, FullRatio]
  return {
    loraAllLayers: worst(lora.flatMap(({ allLayers }) => Object.values(allLayers))),
    loraVsOneCall: worst(lora.flatMap(({ vsOneCall }) => Object.values(vsOneCall))),
    loraLastThird: worst(lora.map(({ lastThird }) => lastThird)),
    oneSidedOverTwoSided: worst(lora.filter(({ directions }) => directions === most).map(({ oneSided }) => oneSided)),
    fullDensePair: short.pair.cpu,
    fullDensePairLong: long.pair.cpu,
    peakMemory: memory.ratio,
  }
}

const row = (...cells: readonly (string | number)[]): void => console.log(`| ${cells.join(' | ')} |`)
/** CPU time, and wall time behind it. */
const both = ({ cpu, wall }: Duration): string => `${cpu.toFixed(3)} (${wall.toFixed(3)})`

function printLora(ratios: LoraRatios): void {
  const { tokens, directions, records, plainSeconds } = ratios
  const shape = [tokens, directions, records, plainSeconds.toFixed(2)]
  for (const [rank, all] of Object.entries(ratios.allLayers))
    row(...shape, rank, both(all), both(ratios.vsOneCall[Number(rank)]!), both(ratios.lastThird), both(ratios.oneSided))
}

function printTorch(torch: Measured['torch']): void {
  if ('skipped' in torch) {
    console.log(`\nPyTorch: skipped, ${torch.skipped}`)
    return
  }
  const { torch: theirs, engine: ours, differenceErrors } = torch
  console.log(
    `\nDirections times records a second, ${torch.threads} threads, T = ${torch.tokens}, B = ${torch.records}\n`,
  )
  row('who', 'a second')
  row('---', '---:')
  row('PyTorch, DPZero, all weights', theirs.dpzero.toFixed(1))
  row('PyTorch, DP-AggZO, all weights', theirs.aggzo.toFixed(1))
  row("PyTorch, the engine's factors", theirs.given.toFixed(1))
  row('engine, factors at all layers', ours.lora.toFixed(1))
  row('engine, all weights', ours.full.toFixed(1))
  row('largest error of a difference, factors', differenceErrors.lora.toExponential(1))
  row('largest error of a difference, all weights', differenceErrors.full.toExponential(1))
}

/** Everything, tables printed as they come. */
async function measure(): Promise<Measured> {
  const memory = await peakMemory()
  const { nothing, plain, round, manyDirections } = memory.mebibytes
  console.log(
    `Peak MiB of a process: ${nothing.toFixed(0)} before a model, ${plain.toFixed(0)} in pure inference, ${round.toFixed(0)} in a round, ${manyDirections.toFixed(0)} in one of as many forwards with one record alone\n`,
  )
  row('T', 'K', 'B', 'plain, s', 'rank', 'all layers', 'vs one call', 'last third', 'one-sided / two-sided')
  row(...Array.from({ length: 9 }, () => '---:'))
  const lora: LoraRatios[] = []
  for (const setting of LORA) {
    const ratios = await loraRatios(setting)
    printLora(ratios)
    lora.push(ratios)
  }
  console.log('')
  row('tokens a forward', 'two plain forwards, s', 'pair, all weights, dense')
  row('---:', '---:', '---:')
  const full: FullRatio[] = []
  for (const setting of FULL) {
    const ratio = await fullRatio(setting)
    row(ratio.forwardTokens, ratio.plainSeconds.toFixed(3), both(ratio.pair))
    full.push(ratio)
  }
  const missing = torchMissing()
  const torch = missing === undefined ? await compareWithTorch(TORCH) : { skipped: missing }
  printTorch(torch)
  return { lora, full, memory, torch }
}

/**
 * Rounds against pure inference: the exported graph of the same model in a session with the same options. One thread, the
 * two in turn within one process, median of the turns' ratios of CPU time (wall time in brackets).
 */
export async function engine({ json = false }: { json?: boolean }): Promise<void> {
  console.log(
    `An encoder of MiniLM's size, random weights; calls of up to ${CALL_LIMITS.cpu.tokens} tokens; T tokens, K directions, B records\n`,
  )
  const measured = await measure()
  const ratios = ratiosOf(measured)
  if (json) console.log(JSON.stringify({ ratios, ...measured }))
}
