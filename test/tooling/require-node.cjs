// Stops with a clear sentence where the bundled Node 24 was not installed (npm ci --omit=optional) and the system's is older.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  console.error(
    `Sotto needs Node 24 or newer, and this is ${process.version}. On Linux "npm ci" brings Node 24 along as an optional package: run "npm ci" without --omit=optional. Elsewhere install Node 24.`,
  )
  process.exit(1)
}
