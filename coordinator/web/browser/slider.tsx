import { useId } from 'preact/hooks'

interface SliderProps {
  readonly name: string
  readonly value: number
  readonly least: number
  readonly most: number
  readonly isLogarithmic?: boolean
  readonly isWhole?: boolean
  readonly onChange: (value: number) => void
}

const STEPS = 400
const DIGITS = 3

/** A range with the number beside it, which may be typed as well. */
export function Slider({ name, value, least, most, isLogarithmic = false, isWhole = false, onChange }: SliderProps) {
  const id = useId()
  const to = (position: number) => {
    const part = position / STEPS
    const exact = isLogarithmic ? least * (most / least) ** part : least + (most - least) * part
    return isWhole ? Math.round(exact) : Number(exact.toPrecision(DIGITS))
  }
  const from = (number: number) =>
    Math.round(
      STEPS * (isLogarithmic ? Math.log(number / least) / Math.log(most / least) : (number - least) / (most - least)),
    )
  const take = (text: string) => {
    const number = Number(text)
    if (Number.isFinite(number) && number > 0) onChange(isWhole ? Math.max(1, Math.round(number)) : number)
  }
  return (
    <div class="slider">
      <label for={id}>{name}</label>
      <input
        id={id}
        type="range"
        min={0}
        max={STEPS}
        value={from(value)}
        aria-valuetext={String(value)}
        onInput={(event) => onChange(to(Number(event.currentTarget.value)))}
      />
      <input
        type="number"
        aria-label={`${name}, as a number`}
        step="any"
        min={0}
        value={isWhole ? Math.round(value) : Number(value.toPrecision(4))}
        onChange={(event) => take(event.currentTarget.value)}
      />
    </div>
  )
}
