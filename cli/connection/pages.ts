/** All pages of a list of the API. */
export async function all<T>(
  page: (query: { cursor?: string }) => Promise<{ items: T[]; next: string | null }>,
): Promise<T[]> {
  const found: T[] = []
  for (let next: string | null | undefined; next !== null; ) {
    const got = await page(next === undefined ? {} : { cursor: next })
    found.push(...got.items)
    next = got.next
  }
  return found
}
