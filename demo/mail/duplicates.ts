/**
 * Near-duplicates by MinHash over three-word shingles: the same spam sent twice with another name in it, or one
 * circular that came through two lists. Sizes: ROWS * BANDS = 64 hashes; two mails meet in a band with
 * probability 1 - (1 - J^4)^16, which is 0.99 at Jaccard J = 0.7.
 */
const ROWS = 4
const BANDS = 16
const HASHES = ROWS * BANDS
const SIMILAR = 0.6

/** What two copies of one message share: letters only, without numbers, links, addresses or a list's footer. */
export function normalise(body: string): string {
  return words(body).join('')
}

function words(body: string): string[] {
  // Footers follow a drawn rule ("_" after tidying) near the end; they repeat in every mail of a list.
  const footer = body.lastIndexOf('_ ')
  const own = footer > 80 && body.length - footer < 500 ? body.slice(0, footer) : body
  return (own.toLowerCase().match(/\p{L}+/gu) ?? []).filter((word) => word !== 'link' && word !== 'address')
}

function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

function minHashes(body: string): Uint32Array {
  const list = words(body)
  const least = new Uint32Array(HASHES).fill(0xffffffff)
  for (let i = 0; i < Math.max(1, list.length - 2); i++) {
    const shingle = hashText(list.slice(i, i + 3).join(' '))
    for (let h = 0; h < HASHES; h++) {
      const value = Math.imul(shingle ^ (h * 0x9e3779b1), 0x85ebca6b + 2 * h)
      const mixed = (value ^ (value >>> 16)) >>> 0
      if (mixed < (least[h] ?? 0)) least[h] = mixed
    }
  }
  return least
}

function similarity(a: Uint32Array, b: Uint32Array): number {
  let equal = 0
  for (let h = 0; h < HASHES; h++) if (a[h] === b[h]) equal++
  return equal / HASHES
}

/** Indices of bodies to keep: the first of each group of near-duplicates. */
export function distinct(bodies: string[]): number[] {
  const exact = new Set<string>()
  const bands = new Map<string, number[]>()
  const sketches: Uint32Array[] = []
  const kept: number[] = []
  bodies.forEach((body, index) => {
    const sketch = minHashes(body)
    sketches[index] = sketch
    const keys = Array.from({ length: BANDS }, (_, b) => `${b}:${sketch.subarray(b * ROWS, (b + 1) * ROWS).join()}`)
    const near = keys.flatMap((key) => bands.get(key) ?? [])
    // A dropped mail still enters its bands, so a chain of small edits is one group.
    for (const key of keys) bands.set(key, [...(bands.get(key) ?? []).slice(0, 40), index])
    const same = normalise(body)
    const known = exact.has(same) || near.some((other) => similarity(sketch, sketches[other] ?? sketch) >= SIMILAR)
    exact.add(same)
    if (!known) kept.push(index)
  })
  return kept
}
