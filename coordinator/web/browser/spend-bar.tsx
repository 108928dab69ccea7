import type { Dataset } from '../../../shared/api/index.ts'
import { upper } from './figures.ts'
import { Bar } from './parts.tsx'

/** A lifetime budget: what its filter has come to, what runs have reserved beside, and what is left. */
export function LifetimeBar({ dataset: { budget, spent, reserved } }: { dataset: Dataset }) {
  const spentOf = spent.charges === 0 ? 0 : spent.ofBudget
  const withReserved = reserved.charges === 0 ? spentOf : reserved.ofBudget
  const held = Math.max(0, withReserved - spentOf)
  const words = `${upper(spentOf)} spent${held > 0 ? `, ${upper(held)} reserved` : ''} of ${budget.epsilon}`
  return (
    <>
      <Bar
        label={words}
        whole={budget.epsilon}
        parts={[
          ['spent', spentOf],
          ['reserved', held],
        ]}
      />
      <span class="note">{words}</span>
    </>
  )
}
