import { useEffect, useRef, useState } from 'preact/hooks'
import type { PlanAnswer, PlanQuestion, Question, SpendPoint, Told } from './accounting.worker.ts'
import { openWorker } from './background.ts'
import type { SpendQuestion } from './spending.ts'

/** A worker that answers the newest question; what it still says of older ones is not heard. */
function useWorker(hear: (told: Told) => void): (ask: (number: number) => Question) => void {
  const worker = useRef<Worker | null>(null)
  const number = useRef(0)
  const hearing = useRef(hear)
  hearing.current = hear
  useEffect(() => () => worker.current?.terminate(), [])
  return (ask) => {
    if (!worker.current) {
      worker.current = openWorker('accounting')
      worker.current.addEventListener('message', ({ data }: MessageEvent<Told>) => {
        if (data.number === number.current) hearing.current(data)
      })
    }
    number.current += 1
    worker.current.postMessage(ask(number.current))
  }
}

/** A slider that is being dragged asks for what it passes no more often than this. */
const SETTLE_MS = 60

/** What a plan comes to; null until the first answer. */
export function usePlan(question: PlanQuestion): { answer: PlanAnswer | null; isStale: boolean } {
  const [answer, setAnswer] = useState<PlanAnswer | null>(null)
  const [heard, setHeard] = useState('')
  const key = JSON.stringify(question)
  const asked = useRef('')
  const ask = useWorker((told) => {
    if (told.kind !== 'plan') return
    setAnswer(told.answer)
    setHeard(asked.current)
  })
  // The key stands for the question.
  useEffect(() => {
    const timer = setTimeout(() => {
      asked.current = key
      ask((number) => ({ kind: 'plan', number, question }))
    }, SETTLE_MS)
    return () => clearTimeout(timer)
  }, [key])
  return { answer, isStale: heard !== key }
}

/** The spend of a dataset by round, as far as it is computed. */
export function useSpend(question: SpendQuestion | null): { points: readonly SpendPoint[]; isDone: boolean } {
  const [state, setState] = useState<{ points: readonly SpendPoint[]; isDone: boolean }>({ points: [], isDone: false })
  const key = JSON.stringify(question)
  const ask = useWorker((told) => {
    if (told.kind === 'spend') setState({ points: told.points, isDone: told.isDone })
  })
  // The key stands for the question.
  useEffect(() => {
    if (question) ask((number) => ({ kind: 'spend', number, question }))
  }, [key])
  return state
}
