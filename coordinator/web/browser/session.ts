import { connect, type Sotto } from '../../../client/index.ts'

/** Kept for this tab alone, and gone with it. */
const KEPT = 'sotto.token'

/** Takes a token that a link brought after its `#`, which no server is sent, and leaves it in no history. */
function takeFromAddress(): void {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (token === null) return
  sessionStorage.setItem(KEPT, token)
  history.replaceState(null, '', location.pathname + location.search)
}

takeFromAddress()

export const tokenNow = (): string | null => sessionStorage.getItem(KEPT)

export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEPT)
  else sessionStorage.setItem(KEPT, token)
}

/** Seconds that a page waits for a coordinator that is away before it says so. */
const PATIENCE = 8

export function connectBy(token: string): Sotto {
  return connect({ url: location.origin, token, patience: PATIENCE })
}

/** The word after a word of the address: the id of `/runs/{id}`. */
export function idAfter(word: 'runs' | 'datasets'): string {
  const parts = location.pathname.split('/')
  return decodeURIComponent(parts[parts.indexOf(word) + 1] ?? '')
}
