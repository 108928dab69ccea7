import type { Graph } from './graph.ts'
import { matrixOf } from './products.ts'
import type { Site } from './sites.ts'

/**
 * Merges a finished stage into the constants of a site: W <- W + scale A V, each entry summed over the rank in double
 * precision and rounded once.
 * @param stage factor A row-major [inputs, rank]; signs V row-major [rank, outputs of the site].
 */
export function mergeStage(
  graph: Graph,
  site: Site,
  stage: { factor: Float32Array; signs: Int8Array; rank: number; scale: number },
  name: string,
): void {
  let start = 0
  site.products.forEach((product, part) => {
    const weight = matrixOf(product)
    const { inputs, outputs } = product
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < outputs; o++) {
        let sum = 0
        for (let r = 0; r < stage.rank; r++)
          sum += stage.factor[i * stage.rank + r]! * stage.signs[r * site.outputs + start + o]!
        weight[i * outputs + o] = weight[i * outputs + o]! + stage.scale * sum
      }
    }
    start += outputs
    product.node.input[1] = graph.addFloats(`${name}.${part}.merged`, [inputs, outputs], weight)
  })
}
