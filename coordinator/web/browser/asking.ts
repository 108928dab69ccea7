import { useCallback, useEffect, useRef, useState } from 'preact/hooks'

/** The key of no question. */
const GONE = ' gone'

/** What an ask has come to. The last answer stays while it is asked again. */
export interface Asked<T> {
  readonly value: T | null
  readonly error: unknown
  /** Asks again now. */
  readonly again: () => void
}

/**
 * Asks when the page shows it, again where what it depends on changed, and every so often where that is wanted.
 * @param key of what is asked: another key is another question
 */
export function useAsked<T>(ask: () => Promise<T>, key: string, { everyMs }: { everyMs?: number } = {}): Asked<T> {
  const [state, setState] = useState<{ key: string; value: T | null; error: unknown }>({
    key,
    value: null,
    error: null,
  })
  const newest = useRef(ask)
  newest.current = ask
  const asking = useRef('')
  const isUnderWay = useRef('')
  const again = useCallback(() => {
    asking.current = key
    // One at a time: an answer that takes longer than the pause is waited for.
    if (isUnderWay.current === key) return
    isUnderWay.current = key
    const done = () => {
      if (isUnderWay.current === key) isUnderWay.current = ''
      return asking.current === key
    }
    newest.current().then(
      (value) => done() && setState({ key, value, error: null }),
      (error: unknown) => done() && setState((old) => ({ ...old, key, error })),
    )
  }, [key])
  useEffect(() => {
    again()
    if (everyMs === undefined) return
    const timer = setInterval(() => document.visibilityState === 'visible' && again(), everyMs)
    return () => clearInterval(timer)
  }, [again, everyMs])
  useEffect(
    () => () => {
      asking.current = GONE
    },
    [],
  )
  return { value: state.key === key ? state.value : null, error: state.error, again }
}
