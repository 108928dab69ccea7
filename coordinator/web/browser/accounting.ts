import { useEffect, useRef, useState } from 'preact/hooks'
import type { PlanAnswer, PlanQuestion, Question, SpendPoint, Told } from './accounting.worker.ts'
import { openWorker } from './background.ts'
import type { SpendQuestion } from './spending.ts'

/** A worker that answers the newest question; what it still says of older ones is not heard. */
function useWorker(hear: (told: Told) => void): { ask: (ask: (number: number) => Question) => void; fault: unknown } {
  const [fault, setFault] = useState<unknown>(null)
  const worker = useRef<Worker | null>(null)
  const number = useRef(0)
  const hearing = useRef(hear)
  hearing.current = hear
  useEffect(() => () => worker.current?.terminate(), [])
  const send = (ask: (number: number) => Question) => {
    if (!worker.current) {
      worker.current = openWorker('accounting')
      worker.current.addEventListener('message', ({ data }: MessageEvent<Told>) => {
        if (data.number === number.current) hearing.current(data)
      })
      worker.current.addEventListener('error', () =>
        setFault(new Error('The accountant could not be started, or stopped.')),
      )
    }
    number.current += 1
    worker.current.postMessage(ask(number.current))
  }
  return { ask: send, fault }
}

/** A slider that is being dragged asks for what it passes no more often than this. */
const SETTLE_MS = 60

/** What a plan comes to; null until the first answer. */
export function usePlan(question: PlanQuestion | null): {
  answer: PlanAnswer | null
  isStale: boolean
  fault: unknown
} {
  const [answer, setAnswer] = useState<PlanAnswer | null>(null)
  const [heard, setHeard] = useState('')
  const key = JSON.stringify(question)
  const asked = useRef('')
  const { ask, fault } = useWorker((told) => {
    if (told.kind !== 'plan') return
    setAnswer(told.answer)
    setHeard(asked.current)
  })
  // The key stands for the question.
  useEffect(() => {
    if (!question) return
    const timer = setTimeout(() => {
      asked.current = key
      ask((number) => ({ kind: 'plan', number, question }))
    }, SETTLE_MS)
    return () => clearTimeout(timer)
  }, [key])
  return { answer, isStale: heard !== key, fault }
}

interface Spend {
  readonly points: readonly SpendPoint[]
  readonly isDone: boolean
}

/** The spend of a dataset by round, as far as it is computed: of this question, and of no other. */
export function useSpend(question: SpendQuestion): Spend & { readonly fault: unknown } {
  const [state, setState] = useState<Spend & { readonly key: string }>({ key: '', points: [], isDone: false })
  const key = JSON.stringify(question)
  const asked = useRef('')
  const { ask, fault } = useWorker((told) => {
    if (told.kind === 'spend') setState({ key: asked.current, points: told.points, isDone: told.isDone })
  })
  // The key stands for the question.
  useEffect(() => {
    asked.current = key
    ask((number) => ({ kind: 'spend', number, question }))
  }, [key])
  return state.key === key ? { ...state, fault } : { points: [], isDone: false, fault }
}
