import type { Sotto } from '../../../client/index.ts'
import type { Dataset } from '../../../shared/api/index.ts'

const PAGE = '200'

export async function allDatasets(sotto: Sotto): Promise<Dataset[]> {
  const found: Dataset[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query: { limit: string; cursor?: string } = { limit: PAGE, ...(cursor === '' ? {} : { cursor }) }
    const page: { items: Dataset[]; next: string | null } = await sotto.answer(sotto.api.v1.datasets.$get({ query }))
    found.push(...page.items)
    cursor = page.next
  }
  return found
}
