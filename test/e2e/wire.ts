import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One exchange as it passed, whole. */
export interface Exchange {
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
  readonly status: number
}

/** A proxy between workers and their coordinator that writes down every byte a worker sends. */
export async function recordWire(target: string): Promise<{ url: string; exchanges: Exchange[]; close(): void }> {
  const exchanges: Exchange[] = []
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk) => chunks.push(chunk))
    incoming.on('end', () => {
      const body = Buffer.concat(chunks)
      const { method = 'GET', url = '/', headers } = incoming
      const upstream = httpRequest(new URL(url, target), { method, headers }, (answer) => {
        exchanges.push({ method, path: url, headers, body: body.toString('utf8'), status: answer.statusCode ?? 0 })
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      })
      upstream.on('error', () => outgoing.destroy())
      outgoing.on('close', () => upstream.destroy())
      upstream.end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, exchanges, close: () => server.closeAllConnections() }
}
