import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { checkKey, type ObjectStore, StoreError } from './store.ts'

export interface FolderOptions {
  readonly root: string
  /** Secret of the signed URLs, 32 bytes. */
  readonly signingKey: Uint8Array
  /** Where the coordinator serves `/objects/`, such as `http://127.0.0.1:8787`. */
  readonly baseUrl: () => string
  readonly now: () => number
}

/** Begins with a dot, which no key may. */
const TEMPORARY = '.tmp'

/** Objects as files: a temporary file, fsync, link() to the name unless it exists, fsync of the directory. */
export class FolderStore implements ObjectStore {
  readonly #options: FolderOptions

  private constructor(options: FolderOptions) {
    this.#options = options
  }

  static async open(options: FolderOptions): Promise<FolderStore> {
    const temporary = join(options.root, TEMPORARY)
    await mkdir(temporary, { recursive: true })
    // What a killed process left half-written was never linked to a name.
    await Promise.all((await readdir(temporary)).map((name) => rm(join(temporary, name), { force: true })))
    return new FolderStore(options)
  }

  async create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    const name = this.#path(key)
    return await this.#withTemporary(async (path) => {
      await writeDurably(path, bytes)
      return await this.#link(path, name)
    })
  }

  async replace(key: string, bytes: Uint8Array): Promise<void> {
    const name = this.#path(key)
    await this.#withTemporary(async (path) => {
      await writeDurably(path, bytes)
      await this.#makeDirectory(dirname(name))
      await rename(path, name)
      await syncDirectory(dirname(name))
    })
  }

  /**
   * Takes a body of any length from a signed PUT. The same bytes again pass; a `blobs/<sha256>` must be what it is called.
   * @throws StoreError `conflict` for other bytes under an existing key, `refused` for a blob with another hash.
   */
  async upload(key: string, body: ReadableStream<Uint8Array>): Promise<void> {
    const name = this.#path(key)
    await this.#withTemporary(async (path) => {
      await pipeline(Readable.fromWeb(body as import('node:stream/web').ReadableStream), createWriteStream(path))
      const hash = await hashFile(path)
      if (key.startsWith('blobs/') && key !== `blobs/${hash}`) throw new StoreError('refused')
      await using(await open(path, 'r+'), (file) => file.sync())
      if ((await this.#link(path, name)) === 'exists' && (await hashFile(name)) !== hash)
        throw new StoreError('conflict')
    })
  }

  async fetch(key: string): Promise<Uint8Array | null> {
    return await this.#guard(async () => new Uint8Array(await readFile(this.#path(key)))).catch(nullIfMissing)
  }

  async size(key: string): Promise<number | null> {
    const found = await this.#guard(() => stat(this.#path(key))).catch(nullIfMissing)
    return found?.isFile() ? found.size : null
  }

  /** The object as a stream, for serving. */
  async stream(key: string): Promise<{ size: number; body: ReadableStream } | null> {
    const size = await this.size(key)
    if (size === null) return null
    return { size, body: Readable.toWeb(createReadStream(this.#path(key))) as unknown as ReadableStream }
  }

  async signedGet(key: string, seconds: number): Promise<string> {
    return this.#signed('GET', key, seconds)
  }

  async signedPut(key: string, seconds: number): Promise<string> {
    return this.#signed('PUT', key, seconds)
  }

  /** Whether a URL's signature fits method, key and time. */
  verify(method: 'GET' | 'PUT', key: string, query: { expires: string; signature: string }): boolean {
    if (!/^\d{1,15}$/.test(query.expires)) return false
    const expected = this.#signature(method, key, query.expires)
    const given = Buffer.from(query.signature, 'base64url')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return false
    return Number(query.expires) > this.#options.now()
  }

  #signed(method: 'GET' | 'PUT', key: string, seconds: number): string {
    const expires = String(Math.floor(this.#options.now() + seconds * 1000))
    const signature = this.#signature(method, checkKey(key), expires).toString('base64url')
    return `${this.#options.baseUrl()}/objects/${key}?expires=${expires}&signature=${signature}`
  }

  #signature(method: string, key: string, expires: string): Buffer {
    return createHmac('sha256', this.#options.signingKey).update(`sotto-url-v1\n${method}\n${key}\n${expires}`).digest()
  }

  #path(key: string): string {
    return join(this.#options.root, checkKey(key))
  }

  async #withTemporary<T>(work: (path: string) => Promise<T>): Promise<T> {
    const path = join(this.#options.root, TEMPORARY, randomBytes(16).toString('hex'))
    return await this.#guard(async () => {
      try {
        return await work(path)
      } finally {
        await rm(path, { force: true })
      }
    })
  }

  /** The directory is synced where the name existed too: whoever made it may have died before its own sync. */
  async #link(path: string, name: string): Promise<'created' | 'exists'> {
    await this.#makeDirectory(dirname(name))
    const outcome = await link(path, name).then(
      () => 'created' as const,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return 'exists' as const
        throw error
      },
    )
    await syncDirectory(dirname(name))
    return outcome
  }

  async #makeDirectory(path: string): Promise<void> {
    const first = await mkdir(path, { recursive: true })
    if (first === undefined) return
    for (let at = path; at.length >= first.length; at = dirname(at)) await syncDirectory(dirname(at))
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw storeError(error)
    }
  }
}

class MissingError extends StoreError {
  constructor() {
    super('unavailable')
  }
}

function nullIfMissing(error: unknown): null {
  if (error instanceof MissingError) return null
  throw error
}

function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
      return new MissingError()
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new StoreError('full', error)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StoreError('refused', error)
    default:
      return new StoreError('unavailable', error)
  }
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  await using(await open(path, 'wx'), async (file) => {
    await file.writeFile(bytes)
    await file.sync()
  })
}

async function syncDirectory(path: string): Promise<void> {
  await using(await open(path, 'r'), (file) => file.sync())
}

async function using<T>(file: FileHandle, work: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    return await work(file)
  } finally {
    await file.close()
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array)
  return hash.digest('hex')
}

/** Reads the signing key of a data folder, made at the first start. */
export async function loadSigningKey(path: string): Promise<Uint8Array> {
  const known = await readFile(path).catch(() => null)
  if (known?.length === 32) return new Uint8Array(known)
  await unlink(path).catch(() => undefined)
  const key = randomBytes(32)
  await using(await open(path, 'wx', 0o600), async (file) => {
    await file.writeFile(key)
    await file.sync()
  })
  return new Uint8Array(key)
}
