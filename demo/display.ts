import { createLogUpdate } from 'log-update'

/** What the progress display shows; all of it public or already noised. */
export interface Progress {
  readonly round: number
  readonly rounds: number
  readonly roundsPerSecond: number
  /** Epsilon spent by dataset. */
  readonly spent: Record<string, number>
  readonly budget: number
  /** Mean of the latest private losses, in nats; null before the first. */
  readonly privateLoss: number | null
}

const BAR = 28
/** Without a terminal one line is written each so many rounds. */
const PLAIN_EVERY = 20

const bar = (share: number, width: number): string => {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width)
  return '█'.repeat(filled) + '░'.repeat(width - filled)
}

function remaining({ round, rounds, roundsPerSecond }: Progress): string {
  if (roundsPerSecond === 0) return ''
  return `${Math.ceil((rounds - round) / roundsPerSecond)} s left`
}

/** One block of lines, redrawn in place on a terminal. */
export class Display {
  readonly #stream: NodeJS.WriteStream
  readonly #update: ReturnType<typeof createLogUpdate>
  readonly #started = performance.now()

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#update = createLogUpdate(stream)
  }

  /** A step of the demo, with the seconds since it began. */
  step(text: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(0).padStart(4)
    this.#stream.write(`${seconds} s  ${text}\n`)
  }

  progress(state: Progress): void {
    if (!this.#stream.isTTY) {
      if (state.round % PLAIN_EVERY === 0 || state.round === state.rounds) this.step(this.#line(state))
      return
    }
    const spends = Object.entries(state.spent).map(
      ([id, epsilon]) =>
        `  ${id.padEnd(8)} ${bar(epsilon / state.budget, BAR)} ε ${epsilon.toFixed(3)} of ${state.budget}`,
    )
    this.#update([`  rounds   ${bar(state.round / state.rounds, BAR)} ${this.#line(state)}`, ...spends].join('\n'))
  }

  /** Leaves the last picture standing. */
  done(): void {
    if (this.#stream.isTTY) this.#update.done()
  }

  #line(state: Progress): string {
    const loss = state.privateLoss === null ? '' : `private loss ${state.privateLoss.toFixed(2)}`
    const spent = this.#stream.isTTY
      ? ''
      : `ε ${Math.max(0, ...Object.values(state.spent)).toFixed(3)} of ${state.budget}`
    return [
      `round ${state.round}/${state.rounds}`,
      `${state.roundsPerSecond.toFixed(1)} rounds/s`,
      spent,
      loss,
      remaining(state),
    ]
      .filter(Boolean)
      .join(' · ')
  }
}
