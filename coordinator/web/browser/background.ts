declare const ACCOUNTING_WORKER: string
declare const AUDITING_WORKER: string
/** Not every browser has trusted types, and TypeScript's own types of the DOM do not. */
declare const trustedTypes:
  | {
      createPolicy(
        name: string,
        rules: { createScriptURL(path: string): string },
      ): { createScriptURL(path: string): unknown }
    }
  | undefined

const PATHS = { accounting: () => ACCOUNTING_WORKER, auditing: () => AUDITING_WORKER } as const

/** What the page's policy lets become a script: the two that were built with it. */
const policy =
  typeof trustedTypes === 'undefined'
    ? undefined
    : trustedTypes.createPolicy('sotto', {
        createScriptURL: (path) => {
          if (!Object.values(PATHS).some((own) => own() === path)) throw new TypeError('not a script of these pages')
          return path
        },
      })

/** A script that works beside the page, so that the page goes on being one. */
export function openWorker(name: keyof typeof PATHS): Worker {
  const path = PATHS[name]()
  const trusted = (policy?.createScriptURL(path) ?? path) as string
  return new Worker(trusted, { type: 'module', name })
}
