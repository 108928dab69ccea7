/** An option that may be given more than once. */
export const gathered = (value: string, before: string[] = []): string[] => [...before, value]
