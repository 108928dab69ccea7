import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type ProblemCode, problemOf } from '../shared/api/index.ts'
import { connectCoordinator } from './coordinator.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function serving(listener: RequestListener) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return connectCoordinator(`http://127.0.0.1:${port}`, 'token', new AbortController().signal)
}
const problem =
  (code: ProblemCode): RequestListener =>
  (_, answer) => {
    const document = problemOf(code)
    answer.writeHead(document.status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(document))
  }

describe('a coordinator', () => {
  it.each<[string, RequestListener]>([
    [
      'that breaks off in the middle of a body',
      (_, answer) => answer.writeHead(200, { 'content-length': 100 }).write('{"id":', () => answer.destroy()),
    ],
    ['behind a page of a proxy', (_, answer) => answer.writeHead(200).end('<html>maintenance</html>')],
    ['that hangs up', (_, answer) => answer.destroy()],
    ['that is overloaded', problem('rate_limited')],
    ['whose store is away', problem('store_unavailable')],
  ])('%s is waited for', async (_, listener) => {
    await expect((await serving(listener)).self()).rejects.toMatchObject({ code: 'unreachable' })
  })

  it('that knows no such token is not', async () => {
    await expect((await serving(problem('unauthenticated'))).lease(0)).rejects.toMatchObject({ code: 'unauthorised' })
    await expect((await serving(problem('forbidden'))).self()).rejects.toMatchObject({ code: 'unauthorised' })
    await expect((await serving(problem('conflict'))).enrol('k')).rejects.toMatchObject({ code: 'key_conflict' })
  })

  it.each<ProblemCode>([
    'lease_closed',
    'report_conflict',
    'run_ended',
    'not_found',
    'forbidden',
    'bad_report',
    'bad_signature',
  ])('that answers %s to a report wants it no more', async (code) => {
    expect(await (await serving(problem(code))).report('lease-1', '{}')).toBe('dropped')
  })

  it('that is away gets the report again', async () => {
    await expect((await serving(problem('internal'))).report('lease-1', '{}')).rejects.toMatchObject({
      code: 'unreachable',
    })
  })
})
