import { createRoute, z } from '@hono/zod-openapi'
import {
  HexHash,
  type ModelManifest,
  modelManifestSchema,
  modelSchema,
  modelUploadSchema,
} from '../../shared/api/index.ts'
import { canonicalJson, hashOf } from '../../shared/ledger/index.ts'
import { commitObject } from '../objects/store.ts'
import { ApiError } from './fault.ts'
import { once } from './once.ts'
import { allow, body, json, newApi, problems, security } from './route.ts'
import type { Services } from './services.ts'

/** How long signed URLs last: model files are large. */
const UPLOAD_SECONDS = 6 * 3600
export const DOWNLOAD_SECONDS = 3600

export function blobKey(sha256: string): string {
  return `blobs/${sha256}`
}

type ModelFile = ModelManifest['files'][number]

/** The files of a manifest that are not in the store yet, each blob once. */
async function missingFiles(services: Services, manifest: ModelManifest): Promise<ModelFile[]> {
  const once = new Map(manifest.files.map((file) => [file.sha256, file]))
  const checked = await Promise.all(
    [...once.values()].map(async (file) => ({ file, size: await services.objects.size(blobKey(file.sha256)) })),
  )
  return checked.filter(({ file, size }) => size !== file.bytes).map(({ file }) => file)
}

/** The manifest of a model with all its files uploaded. @throws ApiError `unknown_model` */
export async function requireModel(services: Services, id: string): Promise<ModelManifest> {
  const manifest = await services.directory.model(id)
  if (!manifest) throw new ApiError('unknown_model', 'model')
  if ((await missingFiles(services, manifest)).length > 0) throw new ApiError('unknown_model', 'model: files missing')
  return manifest
}

export function modelRoutes(services: Services) {
  const create = createRoute({
    method: 'post',
    path: '/v1/models',
    summary: 'Register a model by its manifest; answers where to PUT the files still missing',
    security,
    middleware: allow(services, 'admin', 'operator'),
    request: { body: body(modelManifestSchema) },
    responses: { 201: json(modelUploadSchema, 'The model id and uploads.'), ...problems },
  })
  const get = createRoute({
    method: 'get',
    path: '/v1/models/{id}',
    summary: 'Show a model with URLs of its files',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor', 'worker'),
    request: { params: z.strictObject({ id: HexHash }) },
    responses: { 200: json(modelSchema, 'The model.'), ...problems },
  })
  return newApi()
    .openapi(create, async (c) => {
      const manifest = c.req.valid('json')
      const make = async () => ({ status: 201 as const, answer: await registerModel(services, manifest) })
      const { answer } = await once(services, c, { body: manifest, draft: () => null, repeat: 'remake', make })
      return c.json(answer as z.infer<typeof modelUploadSchema>, 201)
    })
    .openapi(get, async (c) => {
      const { id } = c.req.valid('param')
      const manifest = await services.directory.model(id)
      if (!manifest || !(await maySee(services, c.get('principal').worker?.dataset, id))) {
        throw new ApiError('not_found', 'model')
      }
      const files = manifest.files.map(async (file) => ({
        ...file,
        url: await services.objects.signedGet(blobKey(file.sha256), DOWNLOAD_SECONDS),
      }))
      return c.json({ id, files: await Promise.all(files) }, 200)
    })
}

async function registerModel(services: Services, manifest: ModelManifest): Promise<z.infer<typeof modelUploadSchema>> {
  const id = hashOf(manifest)
  await commitObject(services.objects, `models/${id}.json`, new TextEncoder().encode(canonicalJson(manifest)))
  await services.directory.noteModel(id, manifest)
  const uploads = (await missingFiles(services, manifest)).map(async ({ path, sha256 }) => ({
    path,
    url: await services.objects.signedPut(blobKey(sha256), UPLOAD_SECONDS),
  }))
  return { id, uploads: await Promise.all(uploads) }
}

/** A worker sees the models of the runs that read its dataset; people see all. */
async function maySee(services: Services, dataset: string | undefined, model: string): Promise<boolean> {
  return dataset === undefined || (await services.directory.isModelOf({ dataset, model }))
}
