import { connect, type Sotto } from '../../../client/index.ts'

/** Kept for this tab alone, and gone with it. */
const KEPT = 'sotto.token'

/** Takes a token that a link brought after its `#`, which no server is sent, and leaves it in no history. @returns whether it did */
function takeFromAddress(): boolean {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (token === null) return false
  sessionStorage.setItem(KEPT, token)
  history.replaceState(null, '', location.pathname + location.search)
  return true
}

takeFromAddress()
// The same page with another token: it is a link in this tab, and the page stays where it is.
addEventListener('hashchange', () => takeFromAddress() && location.reload())

export const tokenNow = (): string | null => sessionStorage.getItem(KEPT)

export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEPT)
  else sessionStorage.setItem(KEPT, token)
}

/** Seconds that a page waits for a coordinator that is away before it says so. */
const PATIENCE = 8

export function connectBy(token: string, signal?: AbortSignal): Sotto {
  return connect({ url: location.origin, token, patience: PATIENCE, ...(signal ? { signal } : {}) })
}

/** What ids look like: whatever else stands in an address is asked of nobody. */
const ID = /^[a-z0-9][a-z0-9_-]{0,62}$/
export const isId = (text: string): boolean => ID.test(text)

/** The id of `/runs/{id}`; a word that is none where the address has none. */
export function idAfter(word: 'runs' | 'datasets'): string {
  const parts = location.pathname.split('/')
  const id = parts[parts.indexOf(word) + 1] ?? ''
  return isId(id) ? id : 'unknown'
}
