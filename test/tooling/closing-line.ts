import type { Reporter, TestModule } from 'vitest/node'

/** Ends a test run with one plain line: `N passed, N failed, N skipped`. A file that could not be collected counts as failed. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const count = (state: string) => tests.filter((test) => test.result().state === state).length
    const broken = modules.filter((module) => module.errors().length > 0).length
    const line = `${count('passed')} passed, ${count('failed') + broken} failed, ${count('skipped') + count('pending')} skipped`
    // After the summary of the default reporter, which prints in the same turn.
    process.once('exit', () => console.log(line))
  }
}
