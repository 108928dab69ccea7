import { describe, expect, it } from 'vitest'
import { type ZooModel, zooModels } from '../../../test/models/zoo.ts'
import { normalise } from '../normalise/index.ts'
import { readGraph, type Variant } from './file.ts'
import type { Graph } from './graph.ts'
import { findHead } from './head.ts'
import { roleOfPath } from './site-names.ts'
import { findSites, type Site } from './sites.ts'
import { findWeights } from './weights.ts'

const models = new Map(zooModels().map((model) => [model.name, model]))
const variantsOf = ({ expected }: ZooModel): Variant[] => [
  '',
  ...expected.variants.map(({ file }) => file.replace(/^model_|\.onnx$/g, '')).filter((each) => each !== 'int8'),
]
const cases = [...models.values()].flatMap((model) => variantsOf(model).map((variant) => ({ model, variant })))

function normalised({ dir }: ZooModel, variant: Variant = ''): Graph {
  const graph = readGraph(dir, variant)
  normalise(graph)
  return graph
}
const sitesOf = (graph: Graph): Site[] => findSites(graph, findHead(graph)?.product.node)
const layerSites = (layer: number): string[] =>
  ['attention.qkv', 'attention.output', 'ffn.up', 'ffn.down'].map((name) => `layer.${layer}.${name}`)
/** Sites of the head, by architecture and task. */
function headSites({ architecture, task }: ZooModel): string[] {
  if (task === 'causal-lm') return []
  if (task === 'masked-lm') return ['head.transform']
  if (architecture === 'bert') return ['head.pooler', 'head.classifier']
  const hasTransform = architecture === 'roberta' || architecture === 'distilbert'
  return hasTransform ? ['head.transform', 'head.classifier'] : ['head.classifier']
}

describe('sites', () => {
  it.each(cases)('have the names of their architecture: $model.name $variant', ({ model, variant }) => {
    const sites = sitesOf(normalised(model, variant))
    const layers = new Set(sites.flatMap(({ name }) => /^layer\.(\d+)/.exec(name)?.[1] ?? [])).size
    expect(layers).toBeGreaterThan(1)
    const expected = [...Array.from({ length: layers }, (_, layer) => layerSites(layer)).flat(), ...headSites(model)]
    expect(sites.map(({ name }) => name)).toEqual(expected)
  })

  it('hold queries, keys and values of unequal width, and a gate with what it gates', () => {
    const [qkv, , up] = sitesOf(normalised(models.get('llama-causal-dynamo-23')!))
    expect(qkv!.products.map(({ outputs }) => outputs)).toEqual([32, 16, 16])
    expect(up!.products.map(({ outputs }) => outputs)).toEqual([64, 64])
    expect(up!.products[0]!.weight.name).toMatch(/gate|val/)
  })

  it('hold one packed product of GPT-2', () => {
    const [qkv] = sitesOf(normalised(models.get('gpt2-past-optimum-13')!))
    expect(qkv).toMatchObject({ inputs: 32, outputs: 96 })
    expect(qkv!.products).toHaveLength(1)
  })

  it('say where W is no numbers', () => {
    const model = models.get('bert-masked-optimum-14')!
    for (const variant of ['int8_weights', 'int8_static', 'q4']) {
      const products = sitesOf(normalised(model, variant)).flatMap((site) => site.products)
      expect(products.filter(({ isFloat }) => isFloat)).toEqual([])
    }
    const halves = sitesOf(normalised(model, 'fp16')).flatMap((site) => site.products)
    expect(halves.every(({ isFloat }) => isFloat)).toBe(true)
  })
})

/** Takes away every name that an exporter could have left a hint in. */
function nameless(graph: Graph): Graph {
  const fresh = new Map<string, string>()
  const nameOf = (tensor: string): string => {
    if (tensor === '' || graph.inputs.some(({ name }) => name === tensor) || tensor === 'logits') return tensor
    if (!fresh.has(tensor)) fresh.set(tensor, `t${fresh.size}`)
    return fresh.get(tensor)!
  }
  graph.nodes.forEach((node, at) => {
    node.name = `n${at}`
    node.metadataProps = []
    node.input = node.input.map(nameOf)
    node.output = node.output.map(nameOf)
  })
  graph.constants = new Map(
    [...graph.constants].map(([name, tensor]) => [nameOf(name), { ...tensor, name: nameOf(name) }]),
  )
  return graph
}

describe('sites of a graph without names', () => {
  it.each([...models.values()].filter(({ task }) => task !== 'sequence-classification'))(
    'are found by how tensors flow: $name',
    (model) => {
      const named = sitesOf(normalised(model))
      const found = sitesOf(nameless(normalised(model)))
      expect(found.map(({ name, inputs, outputs }) => [name, inputs, outputs])).toEqual(
        named.map(({ name, inputs, outputs }) => [name, inputs, outputs]),
      )
    },
  )

  it.each([...models.values()].filter(({ task }) => task === 'sequence-classification'))(
    'have the layers and a head: $name',
    (model) => {
      const found = sitesOf(nameless(normalised(model))).map(({ name }) => name)
      expect(found.filter((name) => name.startsWith('layer.'))).toEqual([...layerSites(0), ...layerSites(1)])
      expect(new Set(found).size).toBe(found.length)
    },
  )
})

describe('a module path', () => {
  it.each([
    ['deberta.encoder.layer.3.attention.self.query_proj', 'layer.3.attention.qkv', 0],
    ['gpt_neox.layers.4.attention.query_key_value', 'layer.4.attention.qkv', 0],
    ['gpt_neox.layers.4.mlp.dense_4h_to_h', 'layer.4.ffn.down', 0],
    ['model.layers.11.self_attn.k_proj', 'layer.11.attention.qkv', 1],
    ['model.layers.11.mlp.up_proj', 'layer.11.ffn.up', 1],
    ['model.layers.2.attn.Wo', 'layer.2.attention.output', 0],
    ['transformer.h.5.attn.c_proj', 'layer.5.attention.output', 0],
    ['transformer.h.5.mlp.c_proj', 'layer.5.ffn.down', 0],
    ['bert.encoder.layer.0.attention.output.dense', 'layer.0.attention.output', 0],
    ['bert.encoder.layer.0.output.dense', 'layer.0.ffn.down', 0],
    ['model.decoder.layers.0.fc1', 'layer.0.ffn.up', 0],
    ['lm_head.dense', 'head.transform', 0],
    ['classifier.dense', 'head.transform', 0],
    ['classifier', 'head.classifier', 0],
    ['lm_head', 'head.vocabulary', 0],
  ])('%s is a product of %s', (path, site, part) => {
    expect(roleOfPath(path)).toMatchObject({ site, part })
  })

  it.each(['encoder.embedding_hidden_mapping_in', 'MatMul_123', 'layer.0.rel_embeddings'])(
    '%s tells no role',
    (path) => {
      expect(roleOfPath(path)).toBeUndefined()
    },
  )
})

describe('products that cannot share a site', () => {
  const graphWith = (change: (graph: Graph) => void): Graph => {
    const graph = normalised(models.get('bert-masked-optimum-14')!)
    change(graph)
    return graph
  }
  const productNamed = (graph: Graph, path: RegExp) =>
    graph.nodes.find(({ name, opType }) => opType === 'MatMul' && path.test(name))!

  it('have one each where they read different inputs', () => {
    const graph = graphWith((work) => {
      const [query, key] = [/layer\.1.*query/, /layer\.1.*key/].map((path) => productNamed(work, path))
      const other = work.add('Neg', [query!.input[0]!], { name: 'other', dims: [] })
      key!.input[0] = other
      work.tidy()
    })
    const names = sitesOf(graph).map(({ name }) => name)
    expect(names).toContain('layer.1.attention.q')
    expect(names).toContain('layer.1.attention.k')
    expect(names).toContain('layer.0.attention.qkv')
  })

  it('are numbered where layers share their module', () => {
    const graph = graphWith((work) => {
      for (const node of work.nodes) node.name = node.name.replace('/layer.1/', '/layer.0/')
    })
    const names = sitesOf(graph).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toContain('layer.0.ffn.up#2')
  })
})

/** Parameters of the models, as PyTorch counts them; a tied table counts once where the file holds it once. */
const WIDTH = 32
const INNER = 64
const VOCABULARY = 96
const square = WIDTH * WIDTH + WIDTH
const block = 4 * square + 2 * WIDTH * INNER + INNER + WIDTH + 4 * WIDTH

describe('weights', () => {
  it.each([
    ['bert-classes-dynamo-23', VOCABULARY * WIDTH + 66 * WIDTH + 2 * WIDTH + 2 * block + square + 3 * WIDTH + 3],
    ['gpt2-past-optimum-13', VOCABULARY * WIDTH + 64 * WIDTH + 2 * block + 2 * WIDTH],
    [
      'llama-causal-dynamo-23',
      2 * VOCABULARY * WIDTH + WIDTH + 2 * (3 * WIDTH * WIDTH + 3 * WIDTH * INNER + 2 * WIDTH),
    ],
  ])('of %s are all its parameters', (name, parameters) => {
    const weights = findWeights(normalised(models.get(name)!))
    expect(weights.reduce((sum, weight) => sum + weight.parameters, 0)).toBe(parameters)
    expect(new Set(weights.map((weight) => weight.name)).size).toBe(weights.length)
  })

  it.each(cases)('are float tensors of the file with their shape: $model.name $variant', ({ model, variant }) => {
    const graph = normalised(model, variant)
    const weights = findWeights(graph)
    expect(weights.length).toBeGreaterThan(4)
    for (const { name, shape } of weights) {
      expect(graph.constants.get(name)!.dims.map(Number)).toEqual(shape)
      expect(name).not.toMatch(/inv_freq|cos_cache|sin_cache|mask/)
    }
  })

  it('are those of norms and embeddings alone where the matrices are quantised', () => {
    const weights = findWeights(normalised(models.get('llama-past-optimum-16')!, 'q4'))
    expect(weights.map(({ shape }) => shape.length)).toEqual([2, 1, 1, 1, 1, 1])
  })
})
