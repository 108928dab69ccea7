import type { NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { type Product, productsOf } from './products.ts'
import { CLASSIFIER, pathsOf, type Role, roleOfPath, VOCABULARY } from './site-names.ts'
import { rolesByStructure } from './structure.ts'

/**
 * Sites: the places where a factor can be trained. A site is one product with a constant matrix, or several that read
 * the same input and share one factor A: query, key and value of a layer, or gate and up of a gated feed-forward part.
 */
export interface Site {
  /**
   * `layer.3.attention.qkv`, `layer.3.ffn.up`, `head.transform`, or the exporter's own path where none of these fits.
   */
  readonly name: string
  /** One product, or those of q, k and v in this order. */
  readonly products: readonly Product[]
  readonly inputs: number
  /** Columns of all products together. */
  readonly outputs: number
}

interface Part {
  readonly product: Product
  readonly role: Role
}

/** Roles by name; a product whose names tell none is called by the longest path there is, or by its place. */
function rolesByName(graph: Graph, products: readonly Product[]): { roles: Part[]; known: number } {
  const consumers = graph.consumers()
  let known = 0
  const roles = products.map((product, at): Part => {
    const paths = pathsOf(graph, consumers, product)
    for (const path of paths) {
      const role = roleOfPath(path)
      if (!role) continue
      known++
      return { product, role }
    }
    // A path of modules has dots; names such as MatMul_12 tell nothing and change from export to export.
    const name =
      paths.find((path) => /^[A-Za-z_][\w-]*(?:\.[\w-]+)*$/.test(path) && !/_\d+$/.test(path)) ?? `product.${at}`
    return { product, role: { site: name, part: 0, alone: name } }
  })
  return { roles, known }
}

/** Roles of all products: by names where these tell, else by how tensors flow. */
function rolesOf(graph: Graph, products: readonly Product[], head: NodeProto | undefined): Part[] {
  const { roles, known } = rolesByName(graph, products)
  if (2 * known >= products.length) return roles
  const flowing = rolesByStructure(graph, products, head)
  return roles.map((part) => ({ ...part, role: flowing.get(part.product) ?? part.role }))
}

function siteOf(name: string, parts: readonly Part[]): Site {
  const products = [...parts].sort((a, b) => a.role.part - b.role.part).map(({ product }) => product)
  return {
    name,
    products,
    inputs: products[0]!.inputs,
    outputs: products.reduce((sum, product) => sum + product.outputs, 0),
  }
}

/** Whether products under one name read one input and have a place each. */
function canShare(parts: readonly Part[]): boolean {
  const [first] = parts as [Part]
  const places = new Set(parts.map(({ role }) => role.part))
  return places.size === parts.length && parts.every(({ product }) => product.input === first.product.input)
}

/** A name that is still free: layers that share their weights bring the same one again. */
function freeName(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(name)) return name
  let copy = 2
  while (taken.has(`${name}#${copy}`)) copy++
  return `${name}#${copy}`
}

/**
 * All sites of a graph in the order of the forward pass. The projection to the vocabulary is none; a classifier is.
 * @param head node of the product that makes the logits, where it is known.
 */
export function findSites(graph: Graph, head: NodeProto | undefined): Site[] {
  const groups = new Map<string, Part[]>()
  for (const part of rolesOf(graph, productsOf(graph), head)) {
    const { site } = part.role
    if (site === VOCABULARY || (part.product.node === head && site !== CLASSIFIER)) continue
    const group = groups.get(part.role.site)
    if (group) group.push(part)
    else groups.set(part.role.site, [part])
  }
  const taken = new Set<string>()
  const named = (name: string, parts: readonly Part[]): Site => {
    const free = freeName(name, taken)
    taken.add(free)
    return siteOf(free, parts)
  }
  return [...groups].flatMap(([name, parts]) =>
    canShare(parts) ? [named(name, parts)] : parts.map((part) => named(part.role.alone, [part])),
  )
}
