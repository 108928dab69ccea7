import type { NodeProto } from '../onnx/onnx_pb.ts'
import { floatAttribute, inputAt, type Rule, type Writer } from './node.ts'

/** Normalisations that runtimes fuse, as the plain operators they stand for. */

const EPSILON_SKIP = 1e-12
const EPSILON_SIMPLIFIED = 1e-5
/** Output of the skip operators that holds the sum before the normalisation. */
const SUM_OUTPUT = 3

/** x / sqrt(mean(x^2) + epsilon) * scale over the last axis, in the form that the runtime fuses again. */
function rootMeanSquare(write: Writer, x: string, scale: string, norm: { epsilon: number; output: string }): void {
  const squares = write.node('Pow', [x, write.scalar(2)])
  const mean = write.node('ReduceMean', [squares, write.ints([-1])], { attributes: { keepdims: 1 } })
  const root = write.node('Sqrt', [write.node('Add', [mean, write.scalar(norm.epsilon)])])
  write.node('Mul', [write.node('Div', [x, root]), scale], { output: norm.output })
}

/** input + skip (+ bias), named as the node names its sum where anybody reads that. */
function skipSum(write: Writer, node: NodeProto, bias: string | undefined): string {
  const [input, skip] = node.input as [string, string]
  // The bias of the product before comes first, so that the product and its bias are found beside each other.
  const biased = bias === undefined ? input : write.node('Add', [input, bias])
  const output = node.output[SUM_OUTPUT]
  return write.node('Add', [biased, skip], output ? { output } : {})
}

const skipLayerNorm: Rule = (node, write) => {
  const sum = skipSum(write, node, inputAt(node, 4))
  const scaleAndShift = [node.input[2]!, ...(inputAt(node, 3) === undefined ? [] : [node.input[3]!])]
  const epsilon = { float: floatAttribute(node, 'epsilon', EPSILON_SKIP) }
  write.node('LayerNormalization', [sum, ...scaleAndShift], {
    output: node.output[0]!,
    attributes: { axis: -1, epsilon },
  })
  return true
}

const skipSimplified: Rule = (node, write) => {
  const sum = skipSum(write, node, inputAt(node, 3))
  const epsilon = floatAttribute(node, 'epsilon', EPSILON_SKIP)
  rootMeanSquare(write, sum, node.input[2]!, { epsilon, output: node.output[0]! })
  return true
}

/** Only over the last axis; any other is left to the runtime. */
const simplified: Rule = (node, write) => {
  const axis = Number(node.attribute.find(({ name }) => name === 'axis')?.i ?? -1n)
  if (axis !== -1 || node.output.length > 1) return false
  const epsilon = floatAttribute(node, 'epsilon', EPSILON_SIMPLIFIED)
  rootMeanSquare(write, node.input[0]!, node.input[1]!, { epsilon, output: node.output[0]! })
  return true
}

export const NORM_RULES: Readonly<Record<string, Rule>> = {
  RMSNormalization: simplified,
  SimplifiedLayerNormalization: simplified,
  'com.microsoft:SimplifiedLayerNormalization': simplified,
  'com.microsoft:SkipLayerNormalization': skipLayerNorm,
  'com.microsoft:SkipSimplifiedLayerNormalization': skipSimplified,
}
