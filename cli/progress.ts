/** Shows how far a long computation is, on standard error and only where somebody watches. */
export interface Progress {
  step(): void
  done(): void
}

const SILENT: Progress = { step() {}, done() {} }

/**
 * @param total how many steps there will be
 * @param screen where it is shown, if that is a terminal
 * @param unit what is counted, with a space before it
 */
export const startProgress = (total: number, screen: NodeJS.WriteStream = process.stderr, unit = ''): Progress => {
  if (!screen.isTTY || total < 2) return SILENT
  let count = 0
  return {
    step() {
      count += 1
      screen.write(`\r${count} of ${total}${unit}`)
    },
    done() {
      screen.write('\r\x1b[K')
    },
  }
}
