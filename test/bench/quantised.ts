import { readFileSync } from 'node:fs'
import { inspectModel, openEngine, type Variant, variantsOf } from '../../gpu-worker/engine/index.ts'
import { type LoraSpace, spaceDimension } from '../../shared/zo/index.ts'
import { median } from './median.ts'

const TOKENS = 64
const DIRECTIONS = 8
const RECORDS = 24
const TURNS = 3
const RADII = [1e-1, 1e-2, 1e-3]
const SEED = '0123456789abcdef'

const correlation = (a: readonly number[], b: readonly number[]): number => {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const [ma, mb] = [mean(a), mean(b)]
  const product = (x: readonly number[], mx: number, y: readonly number[], my: number) =>
    x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0)
  return product(a, ma, b, mb) / Math.sqrt(product(a, ma, a, ma) * product(b, mb, b, mb))
}

/** Lines of a file of texts, as many as the bench wants. */
const textsOf = (path: string): string[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split('\t').reduce((longest, part) => (part.length > longest.length ? part : longest), ''))
    .filter((text) => text.length > 20)
    .slice(0, RECORDS)

/** Losses of both sides of every direction, and the seconds that they took; records alternate between two labels. */
async function measure(modelDir: string, variant: Variant, texts: readonly string[], keepsHalves = false) {
  const { sites } = await inspectModel(modelDir)
  const space: LoraSpace = {
    kind: 'lora',
    rank: 1,
    trained: 'factor',
    sites: sites
      .filter(({ name }) => name.startsWith('layer.'))
      .map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 1 / Math.sqrt(inputs) })),
  }
  const task = {
    kind: 'sequence-classification' as const,
    labels: { a: 0, b: 1 },
    maxTokens: TOKENS,
    buckets: [TOKENS],
  }
  const engine = await openEngine({ modelDir, variant, task, space, seed: SEED, keepsHalves })
  const records = texts.map((text, n) => engine.encode({ text, label: n % 2 ? 'a' : 'b' }))
  const at = {
    center: new Float32Array(spaceDimension(space)),
    round: 0,
    directions: DIRECTIONS,
    sides: 'two' as const,
  }
  const differences: number[][] = []
  for (const radius of RADII) {
    const losses = await engine.losses(records, { ...at, radius })
    differences.push(
      Array.from({ length: losses.length / 2 }, (_, i) => (losses[2 * i]! - losses[2 * i + 1]!) / (2 * radius)),
    )
  }
  const turn = async (): Promise<number> => {
    const started = performance.now()
    await engine.losses(records, { ...at, radius: 0.01 })
    return (performance.now() - started) / 1000
  }
  return { differences, turn, close: () => engine.close() }
}

/**
 * What a quantised base costs in the finite differences and gains in time, against float32, for every variant that a model
 * folder holds and that the engine accepts.
 */
export async function quantised({
  model,
  text,
}: {
  model: string | undefined
  text: string | undefined
}): Promise<void> {
  if (!model || !text) {
    console.log('skipped: name a model folder with several variants and a file of texts (--model DIR --text FILE)')
    return
  }
  const texts = textsOf(text)
  const plain = await measure(model, '', texts)
  console.log(`${texts.length} records of ${TOKENS} tokens, K = ${DIRECTIONS}, every layer, rank 1\n`)
  console.log(`| base | time / float32 | correlation of the differences at radius ${RADII.join(', ')} |`)
  console.log('| --- | ---: | --- |')
  const bases = variantsOf(model).flatMap((variant) => {
    if (variant === '') return []
    const once = { variant, name: variant, keepsHalves: false }
    return variant === 'fp16' ? [once, { ...once, name: 'fp16, kept so in memory', keepsHalves: true }] : [once]
  })
  for (const { variant, name, keepsHalves } of bases) {
    try {
      const made = await measure(model, variant, texts, keepsHalves)
      const ratios: number[] = []
      for (let turn = 0; turn < TURNS; turn++) {
        const base = await plain.turn()
        ratios.push((await made.turn()) / base)
      }
      const shown = RADII.map((_, i) => correlation(made.differences[i]!, plain.differences[i]!).toFixed(5))
      console.log(`| ${name} | ${median(ratios).toFixed(2)} | ${shown.join(', ')} |`)
      await made.close()
    } catch (error) {
      console.log(`| ${name} | refused | ${(error as { code?: string }).code} |`)
    }
  }
  await plain.close()
}
