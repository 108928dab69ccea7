import type { Run } from '../../shared/api/index.ts'
import { roundedUp } from '../output.ts'

export type Format = 'peft' | 'onnx' | 'safetensors'

const LIBRARIES: Readonly<Record<Format, string>> = {
  peft: 'library_name: peft',
  safetensors: 'library_name: transformers',
  onnx: 'library_name: transformers.js',
}

/** What a model card says of the privacy of a run: what was promised to whom, and where that can be checked. */
export function modelCard(run: Run, base: string, format: Format = 'peft'): string {
  const { spec, spent, adapter, head, id } = run
  const units = [...new Set(spec.datasets.map(({ unit }) => unit))].join(', ')
  const rows = spent.map(({ dataset, epsilon, charges }) => {
    const own = spec.datasets.find((each) => each.id === dataset)!
    return `| ${dataset} | ${own.units} ${own.unit}s | ${roundedUp(epsilon)} | ${spec.budget.delta} | ${charges} |`
  })
  const stages = spec.stages.map(
    ({ rounds, directions, clip, noiseMultiplier, samplingRate }) =>
      `| ${rounds} | ${directions} | ${clip} | ${noiseMultiplier} | ${samplingRate} |`,
  )
  return `---
base_model: ${JSON.stringify(base)}
${LIBRARIES[format]}
tags: [differential-privacy, zeroth-order, sotto]
---

# ${format === 'peft' ? 'An adapter' : 'A model'} trained under differential privacy

Trained by Sotto over ${spec.datasets.length} datasets that never left their owners, with differentially private zeroth-order optimisation.

| dataset | size | epsilon | delta | charges |
| --- | --- | --- | --- | --- |
${rows.join('\n')}

Epsilon is a certified upper bound of what the run released of each dataset. It protects each ${units}: neighbouring datasets differ in one that
is added or removed. The noise is ${spec.noise}, added where the data lie, so that the guarantee holds against the coordinator as well.

| rounds | directions | clip | noise multiplier | sampling rate |
| --- | --- | --- | --- | --- |
${stages.join('\n')}

| | |
| --- | --- |
| method | ${spec.clipping} clipping, ${spec.noise} noise, ${spec.sides}-sided differences, ${spec.space.kind} space |
| neighbouring datasets | differ in one ${units}, added or removed |
| run | ${id} |
| spec | ${run.specHash} |
| base model (manifest) | ${spec.model} |
| state | ${run.stateHash ?? ''} |
| adapter (SHA-256) | ${adapter?.sha256 ?? ''} |
| log | ${head.size} records, the last ${head.hash} |

\`sotto audit run ${id}\` recomputes all of it from the log, and the adapter bit for bit.
`
}
