import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { type Graph, intAttribute, intsAttribute } from '../graph/graph.ts'
import { OperatorSetIdProtoSchema } from '../onnx/onnx_pb.ts'
import { dropAttribute, isOnnxDomain, type Rule, rewrite, setAttribute } from './node.ts'

/**
 * Versions of the ONNX operator set. Models older than COMMON are raised to it, so that the engine meets one form of
 * each operator: axes and sizes are inputs, Softmax normalises one axis. From 18 to 23 the operators that matter keep
 * their form.
 * (Changes by version: https://github.com/onnx/onnx/blob/main/docs/Changelog.md)
 */
const OLDEST = 11
const COMMON = 18
const NEWEST = 23
/** From here on an operator has its axes as an input; ReduceSum and its like had it before the other reductions. */
const AXES_INPUT = 13
const REDUCE_AXES_INPUT = 18
/** From here on Softmax normalises its axis alone; before, it took all axes from there on as one. */
const SOFTMAX_OF_AXIS = 13

/** Version of ONNX's own operators that a model was written for. */
export const opsetOf = (graph: Graph): number =>
  Number(graph.opsets.find(({ domain }) => isOnnxDomain(domain))?.version ?? 1n)

/** An attribute with a list of axes or sizes becomes the second input. */
const asInput =
  (attribute: string): Rule =>
  (node, write) => {
    const values = intsAttribute(node, attribute)
    dropAttribute(node, attribute)
    if (values && node.input.length < 2) node.input = [node.input[0]!, write.ints(values)]
    return false
  }

/** Split without sizes says into how many parts. */
const splitParts: Rule = (node) => {
  if (!node.input[1]) setAttribute(node, 'num_outputs', node.output.length)
  return false
}

/**
 * Softmax over all axes from one on: over the last axis of the tensor flattened to two axes, and its shape given back.
 * Where the axis is the last, as nearly always, the flattening goes again once dimensions are known.
 */
const flattenedSoftmax: Rule = (node, write) => {
  const axis = intAttribute(node, 'axis', 1)
  if (axis === -1) return false
  const [input] = node.input as [string]
  const shape = write.node('Shape', [input])
  const flat = write.node('Flatten', [input], { attributes: { axis } })
  const normal = write.node(node.opType, [flat], { attributes: { axis: -1 } })
  write.node('Reshape', [normal, shape], { output: node.output[0]! })
  return true
}

const REDUCTIONS = ['L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'SumSquare']

/** What must change in a model of this version, by operator. */
function rulesFrom(version: number): Record<string, Rule> {
  const rules: Record<string, Rule> = {}
  if (version < REDUCE_AXES_INPUT) {
    for (const name of REDUCTIONS) rules[`Reduce${name}`] = asInput('axes')
    rules.Split = splitParts
  }
  if (version < AXES_INPUT) {
    for (const name of ['Squeeze', 'Unsqueeze', 'ReduceSum']) rules[name] = asInput('axes')
    rules.Split = (...given) => {
      asInput('split')(...given)
      return splitParts(...given)
    }
  }
  if (version < SOFTMAX_OF_AXIS) for (const name of ['Softmax', 'LogSoftmax', 'Hardmax']) rules[name] = flattenedSoftmax
  // Scatter was renamed in opset 11 and stayed as an alias.
  rules.Scatter = (node) => {
    node.opType = 'ScatterElements'
    return false
  }
  return rules
}

/** Raises a graph to the common version. @throws EngineError for a version outside the range. */
export function raiseOpset(graph: Graph): void {
  const version = opsetOf(graph)
  if (version < OLDEST || version > NEWEST)
    throw new EngineError(
      'unsupported_graph',
      `the model was exported with opset ${version}: export it again with one from ${OLDEST} to ${NEWEST}`,
    )
  rewrite(graph, rulesFrom(version))
  const used = new Set(graph.nodes.map(({ domain }) => (isOnnxDomain(domain) ? '' : domain)))
  graph.opsets = graph.opsets.flatMap((opset) => {
    if (isOnnxDomain(opset.domain))
      return create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(Math.max(version, COMMON)) })
    return used.has(opset.domain) ? opset : []
  })
  // Version 8 of the file format is the first that goes with opset 18.
  if (graph.irVersion < 8n) graph.irVersion = 8n
}
