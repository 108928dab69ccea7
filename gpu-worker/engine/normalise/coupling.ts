import { EngineError } from '../error.ts'
import { type Graph, intAttribute } from '../graph/graph.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { labelOf, operatorOf } from './node.ts'

/**
 * What may not be in a graph: operators through which one record of a call changes the numbers of another, or that draw
 * random numbers. The bound on what one record adds to a report holds only while a record's losses are its own.
 */

const WEIGHT_ONLY = 'export the model in float, with weight-only or with static quantisation'
const EVALUATION = 'export the model after model.eval()'

/** Operators that always couple, and what to do. */
const COUPLING: Readonly<Record<string, string>> = {
  Bernoulli: EVALUATION,
  DynamicQuantizeLinear: WEIGHT_ONLY,
  Multinomial: EVALUATION,
  RandomNormal: EVALUATION,
  RandomNormalLike: EVALUATION,
  RandomUniform: EVALUATION,
  RandomUniformLike: EVALUATION,
  'com.microsoft:BiasDropout': EVALUATION,
  'com.microsoft:BitmaskBiasDropout': EVALUATION,
  'com.microsoft:BitmaskDropout': EVALUATION,
  'com.microsoft:DynamicQuantizeLSTM': WEIGHT_ONLY,
  'com.microsoft:DynamicQuantizeMatMul': WEIGHT_ONLY,
}

/** Places of the scales of activations: static scales are constants. */
const SCALES: Readonly<Record<string, readonly number[]>> = {
  QLinearConv: [1, 6],
  QLinearMatMul: [1, 6],
  QuantizeLinear: [1],
  'com.microsoft:MatMulIntegerToFloat': [2],
  'com.microsoft:QAttention': [3],
  'com.microsoft:QGemm': [1],
  'com.microsoft:QLinearAdd': [1, 6],
  'com.microsoft:QLinearMul': [1, 6],
  'com.microsoft:QuantizeLinear': [1],
}

/** Statistics of the batch: more outputs than one, or the attribute of later versions. */
const isTrainingNorm = (node: NodeProto): boolean =>
  operatorOf(node) === 'BatchNormalization' &&
  (intAttribute(node, 'training_mode', 0) === 1 || node.output.filter((output) => output !== '').length > 1)

/** Tensors that depend on what is fed. */
export function fedTensors(graph: Graph): Set<string> {
  const fed = new Set(graph.inputs.map(({ name }) => name))
  for (const node of graph.nodes)
    if (node.input.some((input) => fed.has(input))) for (const output of node.output) if (output !== '') fed.add(output)
  return fed
}

/** @throws EngineError `coupled_batch`, naming the first node that couples records. */
export function refuseCoupling(graph: Graph): void {
  const fed = fedTensors(graph)
  const refuse = (node: NodeProto, why: string, remedy: string): never => {
    throw new EngineError('coupled_batch', `${labelOf(node)} ${why}: ${remedy}`)
  }
  for (const node of graph.nodes) {
    const operator = operatorOf(node)
    const remedy = COUPLING[operator]
    if (remedy === WEIGHT_ONLY) refuse(node, 'computes its scale over all records of a call', remedy)
    if (remedy === EVALUATION) refuse(node, 'draws random numbers', remedy)
    if (isTrainingNorm(node)) refuse(node, 'takes statistics of all records of a call', EVALUATION)
    if (SCALES[operator]?.some((at) => fed.has(node.input[at] ?? '')))
      refuse(node, 'has a scale that depends on the records', WEIGHT_ONLY)
  }
}
