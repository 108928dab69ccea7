import { type Command, Option } from 'commander'
import { all, asking, type ConnectionGiven, withCoordinator } from '../connection/index.ts'
import { columns } from '../output.ts'

interface CreateGiven extends ConnectionGiven {
  readonly scope: 'admin' | 'operator' | 'auditor'
  readonly expiresIn?: number
}

/** Adds the verbs of `sotto token`. */
export const describeToken = (noun: Command): void => {
  asking(
    noun
      .command('create')
      .description('a token for a person or a program; it is shown once')
      .addOption(
        new Option('--scope <scope>', 'operator: models and runs; auditor: reads; admin: everything')
          .choices(['admin', 'operator', 'auditor'])
          .makeOptionMandatory(),
      )
      .option('--expires-in <seconds>', 'left out: it does not expire', Number),
    '  sotto token create --scope auditor --expires-in 86400',
  ).action(async ({ scope, expiresIn, ...given }: CreateGiven) => {
    await withCoordinator(given, async ({ api, answer, tell }) => {
      const json = { scope, ...(expiresIn === undefined ? {} : { expiresInSeconds: expiresIn }) }
      const token = await answer(api.v1.tokens.$post({ json }))
      tell(token, `Token ${token.id}, ${scope}. Shown this once:\n${token.token}\n`)
    })
  })
  asking(noun.command('list').description('tokens, without themselves'), '  sotto token list').action(
    async (given: ConnectionGiven) => {
      await withCoordinator(given, async ({ api, answer, tell }) => {
        const tokens = await all((query) => answer(api.v1.tokens.$get({ query })))
        const rows = tokens.map(({ id, scope, worker, revoked, expires }) => [
          id,
          worker === null ? scope : `${scope} ${worker}`,
          revoked ? 'revoked' : expires === null ? 'does not expire' : `until ${new Date(expires).toISOString()}`,
        ])
        tell(tokens, columns([['TOKEN', 'FOR', 'STATE'], ...rows]))
      })
    },
  )
  asking(
    noun.command('revoke').description('let a token open nothing any more').argument('<token>', 'its id'),
    '  sotto token revoke token-0123456789abcdef',
  ).action(async (id: string, given: ConnectionGiven) => {
    await withCoordinator(given, async ({ api, answer, tell }) => {
      await answer(api.v1.tokens[':id'].$delete({ param: { id } }))
      tell({ id, revoked: true }, `Token ${id} is revoked.\n`)
    })
  })
}
