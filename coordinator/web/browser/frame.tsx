import { type ComponentChildren, render } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { ConnectionError, type Sotto, SottoError } from '../../../client/index.ts'
import { connectBy, keepToken, tokenNow } from './session.ts'

/** A page is given a connection by the token of whoever looks. */
export type Page = (props: { readonly sotto: Sotto; readonly token: string }) => ComponentChildren

const PLACES = [
  ['/runs', 'Runs'],
  ['/datasets', 'Datasets'],
  ['/plan', 'Plan'],
  ['/docs', 'API'],
] as const

/** Shows a page, or the question for a token where there is none. */
export function show(title: string, Shown: Page): void {
  document.title = `${title} · Sotto`
  render(<Frame page={Shown} />, document.getElementById('app')!)
}

function Frame({ page: Shown }: { page: Page }) {
  const [token, setToken] = useState(tokenNow)
  const sotto = useMemo(() => (token === null ? null : connectBy(token)), [token])
  const take = (given: string | null) => {
    keepToken(given)
    setToken(given)
  }
  return (
    <>
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <header class="top">
        <a class="brand" href="/runs">
          <Wave />
          sotto
        </a>
        <nav aria-label="Pages">
          {PLACES.map(([href, name]) => (
            <a key={href} href={href} aria-current={location.pathname.startsWith(href) ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
        {token === null ? null : (
          <button type="button" class="quiet" onClick={() => take(null)}>
            Sign out
          </button>
        )}
      </header>
      <main id="main">
        {token === null || sotto === null ? <SignIn onToken={take} /> : <Shown sotto={sotto} token={token} />}
      </main>
    </>
  )
}

function Wave() {
  return (
    <svg viewBox="0 0 32 16" width="32" height="16" aria-hidden="true">
      <path d="M2 9c2-6 4-6 6-1s4 5 6 0 4-4 6 0 4 3 6-.5 3-2 4-1.500" />
    </svg>
  )
}

function SignIn({ onToken }: { onToken: (token: string) => void }) {
  const [token, setToken] = useState('')
  return (
    <form
      class="card narrow"
      onSubmit={(event) => {
        event.preventDefault()
        if (token.trim() !== '') onToken(token.trim())
      }}
    >
      <h1>Sign in</h1>
      <p>
        With a token of this coordinator. One of an auditor is enough to look at everything:{' '}
        <code>sotto token create --scope auditor</code>.
      </p>
      <label>
        Token
        <input
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <p class="soft">It is kept in this tab, and goes with it.</p>
      <button type="submit">Sign in</button>
    </form>
  )
}

/** Why something can not be shown, and what to do about it. */
export function Trouble({ error }: { error: unknown }) {
  if (error === null || error === undefined) return null
  return (
    <p class="trouble" role="alert">
      {wordsOf(error)}
    </p>
  )
}

function wordsOf(error: unknown): string {
  if (error instanceof SottoError) {
    if (error.code === 'unauthenticated')
      return 'The coordinator does not know this token: sign out, and in with another.'
    return error.message
  }
  if (error instanceof ConnectionError) return 'The coordinator can not be reached.'
  return error instanceof Error ? error.message : 'Something went wrong.'
}

/** While the first answer is on its way. */
export function Waiting({ what }: { what: string }) {
  return (
    <p class="soft" role="status">
      Asking for {what} …
    </p>
  )
}
