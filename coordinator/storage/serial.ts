/** Runs tasks one after the other: an actor's methods await, and none may see another half done. */
export function serialQueue(): <T>(task: () => Promise<T>) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve()
  return function enqueue(task) {
    const result = tail.then(task)
    tail = result.catch(() => undefined)
    return result
  }
}
