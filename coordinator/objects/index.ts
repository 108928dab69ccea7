export { type FolderOptions, FolderStore, loadSigningKey } from './folder.ts'
export { openS3Store, type S3Options } from './s3.ts'
export { serveFolder } from './serve.ts'
export { commitObject, isKey, type ObjectStore, StoreError } from './store.ts'
