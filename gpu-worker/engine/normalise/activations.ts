import { intAttribute } from '../graph/graph.ts'
import { floatAttribute, inputAt, type Rule, textAttribute, type Writer } from './node.ts'

/** Fused activations and products, as the plain operators they stand for. */

/** x / 2 (1 + erf(x / sqrt 2)), in the form that the runtime fuses again. */
function exactGelu(write: Writer, x: string, output: string): void {
  const erf = write.node('Erf', [write.node('Div', [x, write.scalar(Math.SQRT2)])])
  const product = write.node('Mul', [x, write.node('Add', [erf, write.scalar(1)])])
  write.node('Mul', [product, write.scalar(0.5)], { output })
}

/** x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). */
function tanhGelu(write: Writer, x: string, output: string): void {
  const cube = write.node('Mul', [write.node('Pow', [x, write.scalar(3)]), write.scalar(0.044715)])
  const inner = write.node('Mul', [write.node('Add', [x, cube]), write.scalar(Math.sqrt(2 / Math.PI))])
  const outer = write.node('Add', [write.node('Tanh', [inner]), write.scalar(1)])
  write.node('Mul', [write.node('Mul', [x, write.scalar(0.5)]), outer], { output })
}

/** An activation of x, or of x + bias where the node has a second input. */
const ofBiased =
  (activation: typeof exactGelu): Rule =>
  (node, write) => {
    const bias = inputAt(node, 1)
    const x = node.input[0]!
    activation(write, bias === undefined ? x : write.node('Add', [x, bias]), node.output[0]!)
    return true
  }

const ALPHA_QUICK = 1.702

/** x sigmoid(alpha x). */
const quickGelu: Rule = (node, write) => {
  const x = node.input[0]!
  const alpha = floatAttribute(node, 'alpha', ALPHA_QUICK)
  const scaled = alpha === 1 ? x : write.node('Mul', [x, write.scalar(alpha)])
  write.node('Mul', [x, write.node('Sigmoid', [scaled])], { output: node.output[0]! })
  return true
}

/** alpha A B with operands transposed. Ranks are not known here: '...ij->...ji' becomes a Transpose when they are. */
const fusedMatMul: Rule = (node, write) => {
  if (intAttribute(node, 'transBatchA', 0) === 1 || intAttribute(node, 'transBatchB', 0) === 1) return false
  const turned = ['transA', 'transB'].map((name, at) => {
    const operand = node.input[at]!
    if (intAttribute(node, name, 0) === 0) return operand
    return write.node('Einsum', [operand], { attributes: { equation: { text: '...ij->...ji' } } })
  })
  const alpha = floatAttribute(node, 'alpha', 1)
  const output = node.output[0]!
  if (alpha === 1) write.node('MatMul', turned, { output })
  else write.node('Mul', [write.node('MatMul', turned), write.scalar(alpha)], { output })
  return true
}

/** alpha A B + beta C on matrices: a product and a sum, whose operands may then have a leading axis. */
function plainGemm(...[node, write]: Parameters<Rule>): string[] {
  const turned = ['transA', 'transB'].map((name, at) => {
    const operand = node.input[at]!
    const isTurned = intAttribute(node, name, 0) === 1
    return isTurned ? write.node('Transpose', [operand], { attributes: { perm: [1, 0] } }) : operand
  })
  const scaled = (operand: string, factor: number): string =>
    factor === 1 ? operand : write.node('Mul', [operand, write.scalar(factor)])
  const product = scaled(write.node('MatMul', turned), floatAttribute(node, 'alpha', 1))
  const addend = inputAt(node, 2)
  return addend === undefined ? [product] : [product, scaled(addend, floatAttribute(node, 'beta', 1))]
}

const gemm: Rule = (node, write, graph) => {
  const terms = plainGemm(node, write, graph)
  write.node(terms.length === 1 ? 'Identity' : 'Add', terms, { output: node.output[0]! })
  return true
}

const PLAIN_ACTIVATIONS = new Set(['Relu', 'Sigmoid', 'Tanh'])

const fusedGemm: Rule = (node, write, graph) => {
  const activation = textAttribute(node, 'activation') ?? ''
  if (!PLAIN_ACTIVATIONS.has(activation)) return false
  const terms = plainGemm(node, write, graph)
  const sum = terms.length === 1 ? terms[0]! : write.node('Add', terms)
  write.node(activation, [sum], { output: node.output[0]! })
  return true
}

export const ACTIVATION_RULES: Readonly<Record<string, Rule>> = {
  Gemm: gemm,
  'com.microsoft:BiasGelu': ofBiased(exactGelu),
  'com.microsoft:FastGelu': ofBiased(tanhGelu),
  'com.microsoft:FusedGemm': fusedGemm,
  'com.microsoft:FusedMatMul': fusedMatMul,
  'com.microsoft:Gelu': ofBiased(exactGelu),
  'com.microsoft:QuickGelu': quickGelu,
}
