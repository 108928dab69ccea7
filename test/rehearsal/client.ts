/** A caller of the API by one token. Answers are left as JSON: tests look at what is on the wire. */
// biome-ignore lint/suspicious/noExplicitAny: tests read answers of every shape.
type Json = any

export interface Answer {
  readonly status: number
  readonly body: Json
  readonly headers: Headers
}

export class Client {
  readonly #url: string
  readonly token: string | undefined

  constructor(url: string, token?: string) {
    this.#url = url
    this.token = token
  }

  with(token: string): Client {
    return new Client(this.#url, token)
  }

  async call(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const response = await fetch(new URL(path, this.#url), {
      method,
      headers: {
        ...(this.token === undefined ? {} : { Authorization: `Bearer ${this.token}` }),
        ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...options.headers,
      },
      ...(options.body === undefined
        ? {}
        : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
    })
    const text = await response.text()
    const isJson = /[/+]json/.test(response.headers.get('Content-Type') ?? '')
    const body = text === '' ? null : isJson ? JSON.parse(text) : text
    return { status: response.status, body, headers: response.headers }
  }

  /** A whole answer as text, which ends when the server ends it. */
  async text(path: string, headers: Record<string, string> = {}): Promise<string> {
    const authorised = { Authorization: `Bearer ${this.token}`, ...headers }
    return await (await fetch(new URL(path, this.#url), { headers: authorised })).text()
  }

  get = (path: string) => this.call('GET', path)
  post = (path: string, body?: unknown, headers: Record<string, string> = {}) =>
    this.call('POST', path, body === undefined ? { headers } : { body, headers })
  put = (path: string, body: unknown) => this.call('PUT', path, { body })
}
