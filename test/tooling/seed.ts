import fc from 'fast-check'

/** Properties are tried with other cases at every run, unless a seed is set: then with the same, so that a verdict stands. */
const { SOTTO_SEED } = process.env
if (SOTTO_SEED !== undefined) fc.configureGlobal({ seed: Number(SOTTO_SEED) })
