import { describe, expect, it } from 'vitest'
import { zooModels } from '../../test/models/zoo.ts'
import { liveBytes } from './examine.ts'
import { examineModel, inspectModel, measureForward, measureRound } from './index.ts'
import { sketchGraph } from './normalise/run-graph.ts'

const models = new Map(zooModels().map((model) => [model.name, model]))

describe('live bytes', () => {
  it('are those of tensors that are still to be read', () => {
    const graph = sketchGraph({
      inputs: {},
      nodes: [
        ['Neg', ['x'], ['a']],
        ['Neg', ['a'], ['b']],
        ['Neg', ['b'], ['c']],
        ['Add', ['a', 'c'], ['y']],
      ],
      outputs: ['y'],
    })
    for (const [name, size] of Object.entries({ a: 10, b: 100, c: 1000, y: 5 })) graph.dims.set(name, [1, size])
    // Most live while c is made: a, b and c.
    expect(liveBytes(graph)).toBe(4 * 1110)
  })
})

describe('what running a model shows', () => {
  const examined = async (name: string, tokens: number) => {
    const modelDir = models.get(name)!.dir
    return { modelDir, tokens, inspection: await inspectModel(modelDir) }
  }

  it.each(['bert-masked-optimum-14', 'gpt2-classes-dynamo-21', 'llama-past-optimum-16'])(
    'grows with the length of the records: %s',
    async (name) => {
      const [short, long] = await Promise.all([8, 32].map(async (tokens) => examineModel(await examined(name, tokens))))
      expect(long!.activationBytes).toBeGreaterThan(3.9 * short!.activationBytes)
      expect(long!.oneByOne).toBeUndefined()
    },
  )

  it('is a speed of the plain model and one of a round over many directions', async () => {
    const given = await examined('bert-classes-dynamo-23', 16)
    expect(await measureForward(given, 0.01)).toBeGreaterThan(0)
    expect(await measureRound(given, 0.01)).toMatchObject({ lead: 'groups', reason: undefined })
  })

  it('is a refusal where the model has too few positions', async () => {
    await expect(examineModel(await examined('bert-classes-dynamo-23', 128))).rejects.toMatchObject({
      code: 'runtime_failed',
      message: expect.stringContaining('128 tokens'),
    })
  })
})
